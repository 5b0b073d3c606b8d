"""Records -> findings on images: sizes, depths, channels, constant ones, names that lie or collide."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from segtrial.data._walk import Found
from segtrial.errors import listing, several
from segtrial.inspection.faults import relative
from segtrial.inspection.finding import Finding, Severity, finding
from segtrial.inspection.records import Look, Record

SMALLEST = 32
"""Pixels of a side: the deepest features of most networks are 1/32 of the image."""

ENDINGS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
}
Seen = tuple[Path | None, Sequence[Look]]


def check_images(root: Path | None, records: Sequence[Record]) -> list[Finding]:
    """All findings on images."""
    looks = [record.image for record in records if record.image is not None]
    return [
        *_sizes(looks),
        *_channels(looks),
        *_all_such(root, looks, lambda one: one.bits == 16, "image.depth", "note", "images with 16 bits a channel",
                   "They are scaled to 8 bits; nothing to do unless what you look for needs more than 256 steps"),
        *_all_such(root, looks, lambda one: min(one.size) < SMALLEST, "image.tiny", "warning",
                   f"images with a side below {SMALLEST} pixels", "They are padded; remove them if they are strays"),
        *_all_such(root, looks, lambda one: one.constant, "image.constant", "warning",
                   "images of one colour everywhere", "Look at them: a failed export? Remove them with their masks"),
        *_all_such(root, looks, lambda one: one.turned, "image.turned", "note",
                   "images turned by their EXIF orientation", "They are read upright, as their masks must be drawn"),
        *_all_such(root, looks, lambda one: one.alpha, "image.alpha", "note",
                   "images with an alpha channel that is opaque everywhere", "It is dropped; nothing to do"),
        *_all_such(root, looks, lambda one: one.lossy_chroma, "image.chroma", "note",
                   "JPEG images with colours at half the resolution",
                   "Nothing to do for segmentation; for colorization they are no exact truth"),
    ]  # fmt: skip


def check_names(root: Path | None, records: Sequence[Record], found: Found | None) -> list[Finding]:
    """Findings on file names and on what else lies in the folder."""
    looks = [
        look
        for record in records
        for look in (record.image, record.mask)
        if look is not None and look.format and Path(look.path).suffix
    ]
    lying = [one for one in looks if Path(one.path).suffix.lower() not in ENDINGS[one.format]]
    findings = []
    if lying:
        kinds = listing(sorted({f"{one.format} in {Path(one.path).suffix}" for one in lying}))
        many = several(len(lying), "file")
        findings.append(
            finding("file.extension", "note", f"{many} of another format than the name says: {kinds}",
                    "They are read by their content; rename them for other programs",
                    (relative(root, one.path) for one in lying))
        )  # fmt: skip
    findings += _collisions(root, [one.path for one in looks])
    findings += _elsewhere(root, [one.path for one in looks])
    if found is not None and found.junk:
        findings.append(
            finding("file.junk", "note", f"{several(found.junk, 'hidden file')}, Thumbs.db and the like",
                    "They are passed over; nothing to do", count=found.junk)
        )  # fmt: skip
    return findings


def _collisions(root: Path | None, paths: Sequence[str]) -> list[Finding]:
    """Names that differ only in capitals, or in how an accent is written."""
    alike: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        alike[unicodedata.normalize("NFC", path).casefold()].add(path)
    twice = sorted(relative(root, path) for group in alike.values() if len(group) > 1 for path in group)
    if not twice:
        return []
    return [
        finding("file.collision", "warning", "names that differ only in capitals or accents",
                "Rename one of each: on Windows and macOS one overwrites the other", twice)
    ]  # fmt: skip


def _elsewhere(root: Path | None, paths: Sequence[str]) -> list[Finding]:
    """Links to files that lie outside the folder."""
    if root is None:
        return []
    home = os.path.realpath(root) + os.sep
    folders = {folder: os.path.realpath(folder) + os.sep for folder in {os.path.dirname(path) for path in paths}}
    linked = [path for path in paths if os.path.islink(path) and not os.path.realpath(path).startswith(home)]
    linked += [path for path in paths if not folders[os.path.dirname(path)].startswith(home)]
    if not linked:
        return []
    files = [relative(root, path) for path in dict.fromkeys(linked)]
    return [
        finding("file.elsewhere", "note", f"{several(len(files), 'file')} outside the folder, reached by links",
                "They are read like the others; an archive of the folder would lack them", files)
    ]  # fmt: skip


def _sizes(looks: Sequence[Look]) -> Iterable[Finding]:
    sizes = Counter(one.size for one in looks)
    if len(sizes) < 2:
        return []
    shown = listing((f"{h}x{w} ({n})" for (h, w), n in sizes.most_common(6)), most=6)
    more = f" and {len(sizes) - 6} more" if len(sizes) > 6 else ""
    fix = "Nothing to do: training cuts crops of one size, and answers come in each image's own size"
    return [
        finding("image.sizes", "note", f"{len(sizes)} sizes (height x width): {shown}{more}", fix, count=len(looks))
    ]


def _channels(looks: Sequence[Look]) -> Iterable[Finding]:
    kinds = Counter(one.channels for one in looks)
    if len(kinds) < 2:
        return []
    are = "is" if kinds[1] == 1 else "are"
    message = f"{kinds[1]} of {len(looks)} images {are} grey and the others colour"
    return [finding("image.channels", "note", message, "All are read as RGB; nothing to do", count=min(kinds.values()))]


def _all_such(
    root: Path | None,
    looks: Sequence[Look],
    is_such: Callable[[Look], bool],
    code: str,
    severity: Severity,
    what: str,
    fix: str,
) -> list[Finding]:
    """One finding that lists all the images of a kind, or none."""
    files = [relative(root, one.path) for one in looks if is_such(one)]
    return [finding(code, severity, f"{what}: {len(files)} of {len(looks)}", fix, files)] if files else []
