"""An inspection -> one page, whole in itself: what the data are, what is wrong with them, and pictures of both.

The page asks no other address for anything and has no script. Pictures are small, and there are at most as many as
keep it below 3 MB: those of errors come first.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtrial.data.sample import Item
from segtrial.errors import RunError, listing
from segtrial.files import write_atomic
from segtrial.inspection import Finding, Inspection
from segtrial.inspection.classes import ignored_share
from segtrial.reports import page, wording
from segtrial.reports.inspection_pictures import Album, Mark, Shown, Wish, open_album
from segtrial.reports.inspection_words import looks, verdict

SPREAD = 24
"""Items on the contact sheet; every part has two at least."""

SHOWN = 6
"""Items or pairs that are shown with a finding."""

FILES_SHOWN = 20
"""Names of files that are printed with a finding."""

MOST_IN_FINDINGS, MOST_IN_SHEET = 1_500_000, 1_200_000
"""Letters that pictures may take on the page."""

MARKS: Mapping[str, Mark] = {
    "mask.near_palette": "off",
    "mask.unknown_colors": "far",
    "mask.unknown_values": "far",
}
"""Findings whose pixels are marked in the masks."""

COMPARED = ("duplicate.masks",)
"""Findings that compare the masks of two images."""

ALONE = ("image", "leak", "part", "duplicate")
"""Families of findings on images: their masks are not shown."""

UNSHOWN = ("image.chroma", "label.judged")
"""Findings on so many images that a few of them show nothing."""

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Told:
    """A finding in words that can be printed, its pictures, and how many items it has that could be shown."""

    severity: str
    code: str
    message: str
    fix: str
    files: str
    shown: tuple[Shown, ...]
    of: int


def write(inspection: Inspection, path: Path, progress: Progress | None = None) -> Path:
    """Write the page to `path` and return it. Raises RunError if that is no .html, or cannot be written."""
    require_page(path)
    write_atomic(path, render(inspection, progress).encode(errors="replace"))
    return path


def require_page(path: Path) -> None:
    """Raise RunError unless a page may be written there: somebody's data.yaml is not for a page to write over."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise RunError(path, "a page must end in .html", "Name it so: --report page.html")


def render(inspection: Inspection, progress: Progress | None = None) -> str:
    """The page as HTML. Equal data give equal characters."""
    album = open_album(inspection)
    others = [one for one in inspection.findings if one.code != "layout.read"]
    wanted = [_wishes(one, album) for one in others]
    sheet = [Wish(item.key) for item in spread(inspection.understood.items)]
    every = list(dict.fromkeys([*(wish for wishes in wanted for wish in wishes[:SHOWN]), *sheet]))
    made = dict(zip(every, album.all_of(every, progress), strict=True))
    counts = Counter(one.severity for one in others)
    return page.render(
        "inspection.html.j2",
        title=_title(inspection),
        source=wording.plain(inspection.source),
        verdict=verdict(inspection),
        counts={severity: counts[severity] for severity in ("error", "warning", "note")},
        facts=_facts(inspection),
        read=[wording.plain(one.message) for one in inspection.findings if one.code == "layout.read"],
        findings=_told(others, wanted, made),
        guessed=inspection.guessed,
        classes=[(wording.plain(share.name), share) for share in inspection.shares],
        ignored=ignored_share(inspection.records),
        whole=inspection.understood.content == "classes",
        sheet=_within((made[wish] for wish in sheet), MOST_IN_SHEET),
        total=sum(inspection.parts.values()),
        commands=_commands(inspection),
    )


def spread(parts: Mapping[str, Sequence[Item]], most: int = SPREAD) -> list[Item]:
    """About `most` items in order, evenly spread over each part, and two of each part at least."""
    total = sum(map(len, parts.values()))
    chosen: list[Item] = []
    for items in parts.values():
        share = len(items) if total <= most else max(2, round(most * len(items) / total))
        count = min(share, len(items))
        chosen += [items[(2 * place + 1) * len(items) // (2 * count)] for place in range(count)]
    return chosen


def _wishes(one: Finding, album: Album) -> list[Wish]:
    """What shows what a finding says: the pairs that are alike, the marked masks, or the items that it names."""
    if one.code in UNSHOWN:
        return []
    if one.beside:
        compare = one.code in COMPARED
        return [Wish(name, other, masks=compare) for name, other in zip(one.files, one.beside, strict=True) if other]
    alone, mark = one.code.split(".")[0] in ALONE, MARKS.get(one.code, "")
    return [Wish(name, alone=alone, mark=mark) for name in one.files if album.knows(name)]


def _told(findings: Sequence[Finding], wanted: Sequence[Sequence[Wish]], made: Mapping[Wish, Shown]) -> list[Told]:
    """The findings with their pictures, as long as there is room."""
    told, left = [], MOST_IN_FINDINGS
    for one, wishes in zip(findings, wanted, strict=True):
        shown = _within((made[wish] for wish in wishes[:SHOWN]), left)
        left -= sum(picture.letters for picture in shown)
        words = wording.plain(one.message), wording.plain(one.fix)
        told.append(Told(one.severity, one.code, *words, _files(one, shown), tuple(shown), one.count if wishes else 0))
    return told


def _files(one: Finding, shown: Sequence[Shown]) -> str:
    """The names of files that no picture has."""
    named = {picture.name for picture in shown}
    names = [wording.plain(name) for name in one.files[:FILES_SHOWN]]
    if named >= set(names):
        return ""
    more = f" and {one.count - FILES_SHOWN} more" if one.count > FILES_SHOWN else ""
    return ", ".join(names) + more


def _within(shown: Iterable[Shown], most: int) -> list[Shown]:
    """The first of them that take at most so many letters together."""
    kept = []
    for one in shown:
        most -= one.letters
        if most < 0:
            break
        kept.append(one)
    return kept


def _title(inspection: Inspection) -> str:
    place = Path(inspection.source)
    return wording.plain(place.resolve().name or place if inspection.understood.root is not None else place)


def _facts(inspection: Inspection) -> list[tuple[str, str]]:
    parts = listing(f"{wording.plain(name)} {count:,}" for name, count in inspection.parts.items())
    classes = [("classes", f"{len(inspection.shares)}{', made up' if inspection.guessed else ''}")]
    return [
        ("layout", wording.plain(inspection.layout)),
        ("parts", parts or "none"),
        *(classes if inspection.shares else []),
        *((label, wording.plain(words)) for label, words in looks(inspection)),
        *_against(inspection),
    ]


def _against(inspection: Inspection) -> list[tuple[str, str]]:
    """What it was held against, also where they share nothing."""
    held = inspection.against
    if held is None:
        return []
    return [("held against", f"{wording.plain(held.source)}: {held.near} of {held.images} images are near one there")]


def _commands(inspection: Inspection) -> list[tuple[str, str]]:
    """What to type next, each with what it does."""
    source = shlex.quote(inspection.source)
    again = ("Look again after a change: only files that changed are read anew.", f"segtrial inspect {source}")
    if inspection.dataset is not None:
        train = ("Train on it.", f"segtrial train --data {source} --out runs/first")
        return [again] if inspection.failed else [train, again]
    if not inspection.guessed:
        return [again]
    return [
        ("Write the description that it needs; then put the names of the classes into it.",
         f"segtrial inspect {source} --write data.yaml"),
        ("Train on it.", "segtrial train --data data.yaml --out runs/first"),
        again,
    ]  # fmt: skip
