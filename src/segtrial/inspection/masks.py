"""Records -> findings on masks: sizes, strange values and colours, lossy files, masks that say nothing."""

from collections.abc import Sequence
from pathlib import Path

from segtrial.data.masks import unpack
from segtrial.errors import listing, several
from segtrial.inspection.faults import relative
from segtrial.inspection.finding import Finding, finding
from segtrial.inspection.records import Look, Record

LOSSY = ("JPEG", "MPO")
WRITE = "`segtrial inspect DATA --write data.yaml` writes the description that repairs this"


def check_masks(
    root: Path | None, records: Sequence[Record], names: Sequence[str], *, colors: bool, opened: bool
) -> list[Finding]:
    """All findings on masks. `colors`: they are read by colour, not by number. `opened`: train would read them."""
    masked = [record for record in records if record.mask is not None]
    return [
        *_sizes(root, masked),
        *_lossy(root, masked, colors=colors),
        *_strange(root, masked, names, colors=colors),
        *_silent(root, masked, names),
        *_depths(root, masked, opened=opened),
    ]


def _mask(record: Record) -> Look:
    assert record.mask is not None
    return record.mask


def _file(root: Path | None, record: Record) -> str:
    return relative(root, _mask(record).path or record.key)


def _sizes(root: Path | None, records: Sequence[Record]) -> list[Finding]:
    """Masks of another size than their image, by what may have happened."""
    wrong = [one for one in records if one.image is not None and one.image.size != _mask(one).size]
    kinds: dict[str, list[Record]] = {}
    for record in wrong:
        assert record.image is not None
        exchanged = _mask(record).size == record.image.size[::-1]
        code = "mask.size" if not exchanged else "mask.exif" if record.image.turned else "mask.transposed"
        kinds.setdefault(code, []).append(record)
    return [_size(root, code, members) for code, members in kinds.items()]


def _size(root: Path | None, code: str, records: Sequence[Record]) -> Finding:
    hints = {
        "mask.size": ("", "Draw or export the masks in the size of their images; they are never resized for you"),
        "mask.exif": (
            ": the image is turned by its EXIF orientation, the mask is not",
            "Turn the mask as the image is turned, or remove the orientation tag if it is wrong",
        ),
        "mask.transposed": (": height and width are exchanged", "Transpose the mask, or turn it as the image is"),
    }
    hint, fix = hints[code]
    first = records[0]
    assert first.image is not None
    (h, w), (image_h, image_w) = _mask(first).size, first.image.size
    many = several(len(records), "mask has another size than its image", "masks have another size than their image")
    message = f"{many}{hint} (mask {h}x{w}, image {image_h}x{image_w})"
    return finding(code, "error", message, fix, (_file(root, one) for one in records))


def _lossy(root: Path | None, records: Sequence[Record], *, colors: bool) -> list[Finding]:
    lossy = [record for record in records if _mask(record).format in LOSSY]
    if not lossy:
        return []
    most = max(_mask(record).distinct for record in lossy)
    are = "is a JPEG file" if len(lossy) == 1 else "are JPEG files"
    message = f"{len(lossy)} of {several(len(records), 'mask')} {are}, with up to {most} distinct values: a lossy file"
    severity = "warning" if colors else "error"
    return [
        finding("mask.jpeg", severity, message, "Save masks as PNG from their source: JPEG smears every edge",
                (_file(root, one) for one in lossy))
    ]  # fmt: skip


def _strange(root: Path | None, records: Sequence[Record], names: Sequence[str], *, colors: bool) -> list[Finding]:
    """Values and colours that stand for no class: too far from all (error), or near enough to be repaired."""
    far = [one for one in records if _mask(one).far]
    near = [one for one in records if _mask(one).off and not _mask(one).far]
    findings = []
    if far:
        what = "colours" if colors else "values"
        fix = "Correct the masks, or declare the values in data.yaml (ids of a class, or ignore)"
        if colors:
            worst = max(_mask(one).worst for one in far)
            fix = f"Correct the masks, add the colours to the class table, or set color_tolerance: {worst + 0.5:.0f}"
        hold = several(len(far), "mask holds", "masks hold")
        message = f"{hold} {what} that stand for no class: {_shown(far, names, colors=colors)}"
        findings.append(
            finding(
                f"mask.unknown_{'colors' if colors else what}", "error", message, fix, (_file(root, one) for one in far)
            )
        )
    if near:
        findings.append(_near(root, near, names))
    return findings


def _near(root: Path | None, near: Sequence[Record], names: Sequence[str]) -> Finding:
    share = sum(_mask(one).off for one in near) / sum(_mask(one).pixels for one in near)
    worst = sorted(near, key=lambda one: -_mask(one).off / _mask(one).pixels)
    top = _mask(worst[0])
    most, distance = max(_mask(one).distinct for one in near), max(_mask(one).worst for one in near)
    message = (
        f"{100 * share:.1f} % of the pixels of {several(len(near), 'mask')} have colours beside the palette (up to "
        f"{100 * top.off / top.pixels:.1f} % and {most} colours in one file), at most "
        f"{distance:.0f} levels from a class: {_shown(near, names, colors=True)}"
    )
    fix = "They take the nearest class by color_tolerance in data.yaml; nothing more to do"
    return finding("mask.near_palette", "warning", message, fix, (_file(root, one) for one in worst))


def _shown(records: Sequence[Record], names: Sequence[str], *, colors: bool) -> str:
    """The commonest strange values, how often they occur, and the class they are nearest to."""
    pixels: dict[tuple[int, float, int], int] = {}
    for record in records:
        for number, count, distance, index in _mask(record).nearest:
            pixels[number, distance, index] = pixels.get((number, distance, index), 0) + count
    ranked = sorted(pixels.items(), key=lambda one: -one[1])
    return listing(
        (
            f"{list(unpack(number)) if colors else number} ({count} pixels"
            + (f", {distance:.0f} from {names[index] if index < len(names) else 'ignored'})" if colors else ")")
            for (number, distance, index), count in ranked
        ),
        most=5,
    )


def _silent(root: Path | None, records: Sequence[Record], names: Sequence[str]) -> list[Finding]:
    """Masks in which everything is ignored, everything is background, or one value is everywhere."""
    told = [one for one in records if one.counts]
    ignored = [one for one in told if not any(one.counts[:-1])]
    empty = [one for one in told if one not in ignored and sum(map(bool, one.counts)) == 1]
    background = [one for one in empty if names and names[0] == "background" and one.counts[0]]
    constant = [one for one in empty if one not in background]
    unread = [one for one in records if not one.counts and _mask(one).constant]
    rows = (
        ("mask.ignored", ignored, "ignored everywhere", "Remove them with their images: they teach nothing"),
        ("mask.background", background, "background everywhere", "Right if nothing is on them; else an export failed"),
        ("mask.constant", [*constant, *unread], "of one class everywhere", "Look at them: an export may have failed"),
    )  # fmt: skip
    return [
        finding(code, "note" if code == "mask.background" and len(such) < len(records) else "warning",
                f"{len(such)} of {several(len(records), 'mask')} {'is' if len(such) == 1 else 'are'} {what}", fix,
                (_file(root, one) for one in such))
        for code, such, what, fix in rows
        if such
    ]  # fmt: skip


def _depths(root: Path | None, records: Sequence[Record], *, opened: bool) -> list[Finding]:
    """16-bit masks: numbers of objects, more often than classes."""
    deep = [one for one in records if _mask(one).bits > 8 and not _mask(one).colored]
    if not deep:
        return []
    highest = max(value for one in deep for value, _ in _mask(one).values)
    message = f"{several(len(deep), 'mask')} of 16 bits or more, with values up to {highest}"
    fix = "If these are numbers of objects, export classes; else list them in data.yaml (ids of each class)"
    return [finding("mask.depth", "note" if opened else "error", message, fix, (_file(root, one) for one in deep))]
