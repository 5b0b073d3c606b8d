"""Cityscapes: streets of 50 cities, 19 classes that count of 34, 2048 x 1024.

Cordts et al. The Cityscapes dataset for semantic urban scene understanding. CVPR 2016.

    root/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png     RGB    2975 train, 500 val, 1525 test
    root/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png      0 to 33, of which 19 are classes
    root/gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png 0 to 18, and 255 for void

Either kind of mask will do (labelIds come first: they are what is published). A group is a city. The published
masks of the test part hold no class, so that part is left out.
"""

from pathlib import Path

from segtrial.classes import Classes
from segtrial.data._walk import walk
from segtrial.data.masks import Encoding, read_mask
from segtrial.data.reading import Fingerprint, Reader
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions, split
from segtrial.errors import PairingError, listing, several
from segtrial.shapes import IGNORE

IMAGES, MASKS, IMAGE_END = "leftImg8bit", "gtFine", "_leftImg8bit"
PARTS = ("train", "val", "test")
KINDS = ("labelIds", "labelTrainIds")
TABLE = {  # the number in labelIds, and the colour of the official scripts, in the order of the trainIds
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
CLASSES = Classes(tuple(TABLE), tuple(color for _, color in TABLE.values()))
LABEL_IDS = dict.fromkeys((*range(34), IGNORE), IGNORE) | {
    number: index for index, (number, _) in enumerate(TABLE.values())
}
TRAIN_IDS = {index: index for index in range(len(TABLE))} | {IGNORE: IGNORE}
ENCODINGS = {
    "labelIds": Encoding(LABEL_IDS, names=CLASSES.names),
    "labelTrainIds": Encoding(TRAIN_IDS, names=CLASSES.names),
}


def recognises(root: Path) -> bool:
    """Whether there are pictures by part and city, and label numbers beside them."""
    if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
        return False
    return any(
        next((root / IMAGES / part).glob(f"*/*{IMAGE_END}.*"), None) is not None
        and any(next((root / MASKS / part).glob(f"*/*_{kind}.png"), None) is not None for kind in KINDS)
        for part in PARTS
    )


def open_cityscapes(root: Path, options: SplitOptions) -> Dataset:
    """Understand Cityscapes without decoding it (but for one mask of its test part). Raises PairingError."""
    pictures = {part: _pictures(root, part) for part in PARTS}
    kind = _kind(root, [one for part in PARTS[:2] for one in pictures[part]] or pictures["test"])
    reader = Reader(ENCODINGS[kind], 3)
    notes = [f"Cityscapes: 19 classes from {kind}, the other labels count nowhere (IGNORE); groups are the cities"]
    if pictures["test"] and not _counts(root, pictures["test"][0], kind):
        notes.append(f"the test part has no masks with classes: its {len(pictures['test'])} pictures are left out")
        del pictures["test"]
    parts, made = split({part: _items(root, found, kind) for part, found in pictures.items()}, options, str(root))
    return Dataset(root, "cityscapes", CLASSES, parts, reader, Fingerprint.of(reader), (*notes, *made))


def _pictures(root: Path, part: str) -> list[Path]:
    folder = root / IMAGES / part
    found = [file.path for file in walk(folder).pictures] if folder.is_dir() else []
    return [path for path in found if path.stem.endswith(IMAGE_END) and path.parent.parent == folder]


def _mask(root: Path, image: Path, kind: str) -> Path:
    part, city = image.parts[-3:-1]
    return root / MASKS / part / city / f"{image.stem.removesuffix(IMAGE_END)}_{MASKS}_{kind}.png"


def _kind(root: Path, images: list[Path]) -> str:
    """The first kind of mask that every picture has, else the commonest."""
    counts = {kind: sum(_mask(root, image, kind).is_file() for image in images) for kind in KINDS}
    return max(KINDS, key=lambda kind: counts[kind])


def _counts(root: Path, image: Path, kind: str) -> bool:
    """Whether a picture has a mask that shows a class."""
    mask = _mask(root, image, kind)
    return mask.is_file() and bool((read_mask(mask, ENCODINGS[kind]) != IGNORE).any())


def _items(root: Path, images: list[Path], kind: str) -> list[Item]:
    pairs = [(image, _mask(root, image, kind)) for image in images]
    alone = [image.relative_to(root) for image, mask in pairs if not mask.is_file()]
    if alone:
        many = several(len(alone), "image without a mask", "images without a mask")
        found = f"{many}: {listing(alone)}"
        error = PairingError(root, found, f"Add NAME_{MASKS}_{kind}.png at the same place below {MASKS}/")
        error.files = tuple(map(str, alone))
        raise error
    return [
        Item(image.relative_to(root).with_suffix("").as_posix(), image.parent.name, image, mask)
        for image, mask in pairs
    ]
