"""A LabelCheck -> findings: labels that models contradict, classes that are confused, and who judged what."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from segtrial.errors import listing
from segtrial.inspection.finding import Finding, finding

if TYPE_CHECKING:
    from segtrial.inspection.labels import LabelCheck, LabelRow

SHOWN = 3
"""Images, or pairs of classes, that a message shows."""

FOLDS = (
    "Train a run for each fold (`--set split.folds=5 --set split.fold=0`, then 1 to 4) and give all of them: --model "
    "RUN --model RUN ..."
)


def label_findings(check: "LabelCheck") -> list[Finding]:
    """All findings on labels."""
    return [*_suspicious(check), *_confused(check), *_doubts(check), _judged(check)]


def region_words(check: "LabelCheck", row: "LabelRow") -> str:
    """ "car -> road, 4.1 % of the pixels, rows 10-40, columns 5-60": the largest disagreement of an image."""
    if row.region is None:
        return ""
    pair = f"{check.names[row.region.written]} -> {check.names[row.region.likely]}"
    if check.whole:
        return pair
    top, left, bottom, right = row.region.box
    share = 100 * row.region.pixels / row.pixels
    return f"{pair}, {share:.1f} % of the pixels, rows {top}-{bottom - 1}, columns {left}-{right - 1}"


def _suspicious(check: "LabelCheck") -> Iterator[Finding]:
    rows = [row for row in check.rows if row.suspicious]
    if rows:
        shown = "; ".join(f"{row.file} ({region_words(check, row)})" for row in rows[:SHOWN])
        what = "classes" if check.whole else "masks"
        message = (
            f"{len(rows)} of {len(check.rows)} {what} look wrong to models that have not seen them, the most "
            f"suspicious first (written -> looks like): {shown}"
        )
        fix = "Look at them in this order and correct those that are wrong; where they are right, the models are not"
        yield finding("label.suspicious", "warning", message, fix, (row.file for row in rows))


def _confused(check: "LabelCheck") -> Iterator[Finding]:
    apart = check.joint * (1 - np.eye(len(check.joint), dtype=np.int64))
    pairs = [divmod(code, len(apart)) for code in np.argsort(-apart, axis=None, kind="stable")[:SHOWN].tolist()]
    pairs = [pair for pair in pairs if apart[pair]]
    if pairs:
        unit = "" if check.whole else f"{apart.sum() / check.joint.sum():.1%} of the pixels: "
        shown = listing(
            f"{check.names[a]} -> {check.names[b]} "
            + (f"({apart[a, b]} images)" if check.whole else f"({apart[a, b]} pixels in {check.images[a, b]} images)")
            for a, b in pairs
        )
        message = f"most often written as one class and looking like another: {unit}{shown}"
        fix = "Where many images agree, look for a rule that annotators read in different ways"
        yield finding("label.confused", "note", message, fix, count=sum(row.region is not None for row in check.rows))


def _doubts(check: "LabelCheck") -> Iterator[Finding]:
    if check.doubts:
        said = "; ".join(f"{name}: {doubt}" for name, doubt in check.doubts.items())
        message = f"nothing is known of what these have trained on, and labels learned by heart look right: {said}"
        fix = "Give run folders, which say what they have trained on"
        yield finding("label.unknown_training", "warning", message, fix, check.doubts)


def _judged(check: "LabelCheck") -> Finding:
    total = len(check.rows) + len(check.unjudged) + check.unread
    by = listing((f"{name} judged {count}" for name, count in check.judged_by.items()), most=10)
    whom = "" if check.doubts else " by models that have not trained on them"
    message = f"{len(check.rows)} of {total} images were judged{whom}: {by}"
    if check.rows:
        unit = "images" if check.whole else "pixels"
        message += f"; their answers are what is written for {check.score['pixel_accuracy']:.1%} of the {unit}"
        message += "" if check.whole else f" (miou_dataset {check.score['miou_dataset']:.3f})"
    if check.unread:
        message += f"; {check.unread} could not be read"
    if check.unjudged:
        message += f"; {len(check.unjudged)} were not judged: all models have trained on them, or may have"
    fix = FOLDS if check.unjudged else "The better the models, the more their suspicion means"
    return finding(
        "label.judged", "note" if check.rows else "warning", message, fix, check.unjudged, count=len(check.rows)
    )
