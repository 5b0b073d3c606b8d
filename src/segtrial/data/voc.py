"""Pascal VOC: pictures, palette masks, and lists that say which picture belongs to which part.

Everingham et al. The Pascal visual object classes challenge: a retrospective. IJCV 2015.

    root/ImageSets/Segmentation/train.txt    one name a line    1464 train, 1449 val (VOC 2012)
    root/JPEGImages/2007_000032.jpg          RGB                17125, most of them without a mask
    root/SegmentationClass/2007_000032.png   class number 0 to 20 in a palette, and 255 (outlines) for void

`root` may also be the folder above it (VOCdevkit, or the one above that). Without lists a folder is read as any
other (folder.py). VOC's own pictures have VOC's own classes; others take theirs from labelmap.txt (CVAT) or a table
of tables.py, or are numbered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segtrial.classes import Classes, Color
from segtrial.data._walk import hidden_stems, walk
from segtrial.data.encoding import Understood, survey, understand
from segtrial.data.masks import Encoding, mask_header
from segtrial.data.merging import reduce_classes
from segtrial.data.reading import Fingerprint, Reader, channels_of
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.data.tables import Table, find_table, with_swaps
from segtrial.errors import DataError, PairingError, SplitError, listing
from segtrial.shapes import IGNORE

LISTS, IMAGES, MASKS = "ImageSets/Segmentation", "JPEGImages", "SegmentationClass"
PARTS = ("train", "val", "test")
OWN_NAME = re.compile(r"\d{4}_\d{6}")  # a year and a number
VOID_COLOR: Color = (224, 224, 192)
CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True)
class Lists:
    """Names by the part that a list file puts them in ("" for no part), and notes."""

    names: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def color_of(index: int) -> Color:
    """VOC's colour of a class: bits 0, 3, 6 of the number are red's highest three, 1, 4, 7 green's, 2, 5 blue's."""
    red, green, blue = (
        sum((index >> (3 * place + first) & 1) << (7 - place) for place in range(3)) for first in range(3)
    )
    return red, green, blue


CLASSES = Classes(CLASS_NAMES, tuple(color_of(index) for index in range(len(CLASS_NAMES))))


def recognises(root: Path) -> bool:
    """Whether `root`, or one VOC... folder below it, has pictures, masks and lists of names."""
    return _home(root) is not None


def open_voc(root: Path, options: SplitOptions) -> Dataset:
    """Understand the lists; masks are decoded only if their classes must be found. Raises DataError."""
    home = _home(root)
    assert home is not None
    lists = _lists(home)
    by_part, left_out = _items(home, lists)
    items = [item for members in by_part.values() for item in members]
    channels, mixed = channels_of(home, items)
    understood = _understood(home, items)
    classes, swapped = with_swaps(understood.classes)
    grouped, found = with_groups(items, str(home))
    group_of = {item.key: item for item in grouped}
    parts, made = split(
        {part: [group_of[item.key] for item in members] for part, members in by_part.items()}, options, str(home)
    )
    reader = Reader(understood.encoding, channels)
    notes = (*lists.notes, *left_out, *understood.notes, *swapped, *mixed, *found, *made)
    return Dataset(home, "voc", classes, parts, reader, Fingerprint.of(reader), notes)


def _home(root: Path) -> Path | None:
    """The one folder that holds LISTS, IMAGES and MASKS: `root`, or a VOC... folder below it."""
    for places in ([root], sorted(root.glob("VOC*")), sorted(root.glob("VOCdevkit/VOC*"))):
        found = [one for one in places if (one / IMAGES).is_dir() and (one / MASKS).is_dir()]
        found = [one for one in found if any((one / LISTS).glob("*.txt"))]
        if len(found) == 1:
            return found[0]
    return None


def _lists(home: Path) -> Lists:
    """What the list files say. Raises SplitError if a name is in two parts, DataError for an empty list."""
    files = {path.stem: path for path in sorted((home / LISTS).glob("*.txt"))}
    chosen = {part: files[part] for part in PARTS if part in files}
    if "train" not in chosen:  # trainval.txt, or CVAT's default.txt: val is carved from it
        others = [path for stem, path in files.items() if stem not in PARTS]
        if len(others) > 1 or not (others or chosen):
            raise SplitError(home / LISTS, f"no train.txt, and {listing(p.name for p in others)}", "Keep one list")
        chosen |= dict(zip([""], others, strict=False))
    names = {part: _names(path) for part, path in chosen.items()}
    parts_of: dict[str, list[str]] = {}
    for part, members in names.items():
        for name in members:
            parts_of.setdefault(name, []).append(chosen[part].name)
    twice = [f"{name} ({' and '.join(places)})" for name, places in parts_of.items() if len(places) > 1]
    if twice:
        raise SplitError(home / LISTS, f"{len(twice)} names are in two lists: {listing(twice)}", "Keep each in one")
    counts = listing(f"{path.name} ({len(names[part])})" for part, path in chosen.items())
    return Lists(names, (f"Pascal VOC layout: parts by {LISTS}/: {counts}",))


def _names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(path, f"not UTF-8 text ({error.reason})", "Write one name a line") from error
    names = tuple(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    if not names:
        raise DataError(path, "no name in it", "Write one name a line, or remove the file")
    return names


def _items(home: Path, lists: Lists) -> tuple[dict[str, list[Item]], tuple[str, ...]]:
    """Items by part, and notes. A test part without any mask (VOC publishes none) is left out."""
    images = {file.key: file.path for file in walk(home / IMAGES).pictures}
    masks = {file.key: file.path for file in walk(home / MASKS).pictures}
    hidden, notes = hidden_stems(), []
    parts: dict[str, list[Item]] = {}
    for part, listed in lists.names.items():
        names = [name for name in listed if Path(name).name not in hidden]
        if part == "test" and not any(name in masks for name in names):
            notes.append(f"the test part has no masks: its {len(names)} pictures are left out")
            continue
        for folder, known in ((IMAGES, images), (MASKS, masks)):
            missing = [name for name in names if name not in known]
            if missing:
                found = (
                    f"{len(missing)} names of the {part or 'only'} list have no file in {folder}: {listing(missing)}"
                )
                raise PairingError(home / LISTS, found, "Add the files, or take the names off the list")
        keys = [f"{IMAGES}/{name}" for name in names]
        parts[part] = [Item(key, key, images[name], masks[name]) for key, name in zip(keys, names, strict=True)]
    others = len(images.keys() - {name for listed in lists.names.values() for name in listed})
    if others > 0:
        notes.append(f"{others} pictures are in no list that is read: left out")
    return parts, tuple(notes)


def _understood(home: Path, items: list[Item]) -> Understood:
    masks = [item.target for item in items if item.target is not None]
    table = read_labelmap(home / "labelmap.txt") if (home / "labelmap.txt").is_file() else find_table(home)
    if table is not None or not all(OWN_NAME.fullmatch(path.stem) for path in masks):
        return reduce_classes(understand(survey(home, masks, table), table))
    note = "classes of Pascal VOC, by the names of the pictures; 255 (outlines) counts nowhere (IGNORE)"
    if mask_header(masks[0]).mode == "RGB":
        colors = {color: index for index, color in enumerate(CLASSES.colors)} | {VOID_COLOR: IGNORE}
        return Understood(Encoding(None, colors, names=CLASS_NAMES), CLASSES, (note,))
    values = {index: index for index in range(len(CLASSES))} | {IGNORE: IGNORE}
    return Understood(Encoding(values, names=CLASS_NAMES), CLASSES, (note,))


def read_labelmap(path: Path) -> Table:
    """CVAT's labelmap.txt ("name:red,green,blue:parts:actions") -> Table. Raises DataError naming the line."""
    names, colors = [], []
    for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3})(:.*)?", line.strip())
        if match is None or max(int(match[channel]) for channel in (2, 3, 4)) > 255:
            raise DataError(f"{path}:{number}", f"cannot read {line[:60]!r}", 'Write "name:red,green,blue::"')
        names.append(match[1])
        colors.append((int(match[2]), int(match[3]), int(match[4])))
    if not names or len(set(names)) < len(names) or len(set(colors)) < len(colors):
        raise DataError(path, "no class in it, or a name or colour twice", "Give each class one name and one colour")
    return Table(tuple(names), path.name, tuple(colors))
