"""CamVid, the 11-class cut of SegNet's tutorial: 701 frames of driving in Cambridge, 480 x 360.

Brostow, Fauqueur, Cipolla. Semantic object classes in video. Pattern Recognition Letters 2009.
Badrinarayanan, Kendall, Cipolla. SegNet. PAMI 2017 (the cut and its class order).

    root/train/0001TP_006690.png        RGB                367 train, 101 val, 233 test
    root/trainannot/0001TP_006690.png   class number 0 to 10, and 11 for void

The part of a name before "_" is the video sequence (the group), the number its frame at 30 a second. The
official val part is 6.7 s of 0016E5, a sequence that train has too.
"""

from dataclasses import replace
from pathlib import Path

from segtrial.classes import Classes
from segtrial.data.folder import by_part
from segtrial.data.masks import Encoding
from segtrial.data.pairing import find_pairs
from segtrial.data.pictures import EXTENSIONS, read_header
from segtrial.data.reading import Fingerprint, Reader, items_of
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions, split
from segtrial.shapes import IGNORE

SEQUENCES = ("0001TP", "0006R0", "0016E5", "Seq05VD")
VOID = 11
COLORS = {  # those of the original 32-class table, so that pictures look as in the literature
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (0, 0, 192),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CLASSES = Classes(tuple(COLORS), tuple(COLORS.values()))
ENCODING = Encoding({index: index for index in range(11)} | {VOID: IGNORE, IGNORE: IGNORE}, names=CLASSES.names)
LEAK = (
    "the official val part is one clip of 6.7 s out of 0016E5, a sequence that train has too: scores on it read "
    "too high. `--set split.val_groups=[0006R0]` holds out a whole sequence instead"
)


def is_camvid(root: Path) -> bool:
    """Whether this is CamVid with class numbers in its masks (its RGB-coloured forms are folders with a table)."""
    masks = sorted((root / "trainannot").glob("*.png"))
    frames = [path for path in sorted((root / "train").glob("*")) if path.suffix.lower() in EXTENSIONS]
    known = all(path.stem.startswith(SEQUENCES) for path in frames)
    return bool(masks and frames) and known and read_header(masks[0]).mode in ("L", "P")


def open_camvid(root: Path, options: SplitOptions) -> Dataset:
    """Understand CamVid without decoding it. Raises PairingError or SplitError."""
    pairs = find_pairs(root)
    items = [replace(item, group=item.key.rsplit("/", 1)[-1].split("_")[0]) for item in items_of(pairs.pairs)]
    official = by_part(pairs, items)
    parts, made = split(official, options, str(root))
    leaks = not options.val_groups and {i.group for i in parts["val"]} & {i.group for i in parts["train"]}
    notes = (*pairs.notes, f"CamVid: class {VOID} is void (IGNORE); groups are the video sequences")
    notes += (LEAK,) if leaks and "val" in official else made
    reader = Reader(ENCODING, 3)
    return Dataset(root, "camvid", CLASSES, parts, reader, Fingerprint.of(reader), notes)
