"""A folder of class folders -> Dataset for classification: a picture's plane holds its class everywhere.

    root/CLASS/**/*.jpg           one part, from which val is carved
    root/train/CLASS/**/*.jpg     with val/ (valid, validation) and perhaps test/ beside it

Classes are the names of train's folders, sorted as text; a folder below a class belongs to it. A class that val or
test lacks keeps its number. Every picture is a group of its own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from segtrial.classes import Classes
from segtrial.data._walk import IMAGE_WORDS, JUNK, MASK_WORDS, PART_WORDS, File, part_of, require_own_names, walk
from segtrial.data.pictures import read_image
from segtrial.data.reading import Fingerprint, channels_of
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split
from segtrial.errors import DataError, DataNotFound, listing, several

LAYOUTS = (
    "Understood are: a folder for each class, or train/ and val/ with a folder for each class, or .npz files with"
    " images and labels"
)


@dataclass(frozen=True)
class Base:
    """A folder whose folders are classes: the root, or a part's. `name` is its place below the root ("" for it)."""

    name: str
    path: Path
    part: str
    files: tuple[File, ...]

    def classes(self) -> list[str]:
        """The names of its folders that hold pictures, sorted."""
        return sorted({name for file in self.files if (name := self.class_of(file))})

    def folders(self) -> list[tuple[str, str]]:
        """Each class and the place of its folder below the root."""
        return [(name, f"{self.name}/{name}".lstrip("/")) for name in self.classes()]

    def class_of(self, file: File) -> str:
        """The first folder below this one, "" for a picture that lies in this one itself."""
        return file.folder[len(self.name) :].lstrip("/").partition("/")[0]


@dataclass(frozen=True)
class Reader:
    """Decodes one item. `index_of` maps a class folder ("train/cat") to its number; `channels` is 1 or 3."""

    index_of: Mapping[str, int]
    channels: int

    def index(self, item: Item) -> int:
        """The number of an item's class."""
        above = accumulate(item.key.split("/"), "{}/{}".format)
        return next(self.index_of[folder] for folder in above if folder in self.index_of)

    def __call__(self, item: Item) -> Sample:
        """The picture and a plane of its class. Raises ImageError, naming the file."""
        assert item.image is not None
        image = read_image(item.image, self.channels)
        return Sample(image, np.full(image.shape[1:], self.index(item), np.uint8), item.key, item.group)


def open_class_folders(root: Path, options: SplitOptions) -> Dataset:
    """Understand the folders; of pictures only headers are read.

    Raises DataNotFound, DataError, PairingError, ImageError or SplitError, each naming the folder and the fix.
    """
    bases, left_out = _bases(root)
    names = _names(root, bases)
    files = {file.key: file for base in bases for file in base.files}
    items = {key: Item(key, key, file.path) for key, file in files.items()}
    channels, mixed = channels_of(root, list(items.values()))
    given = defaultdict(list)
    for base in bases:
        given[base.part].extend(items[file.key] for file in base.files)
    reader = Reader({folder: names.index(name) for base in bases for name, folder in base.folders()}, channels)
    parts, made = split(given, options, str(root))
    where = listing((f"{base.name or '.'}/ ({len(base.files)})" for base in bases), most=8)
    notes = (f"{len(names)} classes by folders, {listing(names, most=12)}, in {where}", *left_out, *mixed, *made)
    notes += absent(names, {part: {reader.index(item) for item in items} for part, items in parts.items()})
    rule = Fingerprint(f"class, {channels} channels")
    return Dataset(root, "classes", Classes.named(names), parts, reader, rule, notes)


def absent(names: Sequence[str], seen: Mapping[str, set[int]]) -> tuple[str, ...]:
    """A note for each part that has no picture of some class. `seen`: the classes that occur in each part."""
    notes = []
    for part, indices in seen.items():
        missing = [name for index, name in enumerate(names) if index not in indices]
        if missing:
            then = ": no network can learn it" if part == "train" else ""
            notes.append(f"{part} has no picture of {listing(missing, most=12)}{then}")
    return tuple(notes)


def _bases(root: Path) -> tuple[list[Base], tuple[str, ...]]:
    """The folders that hold class folders, every picture in one of these, and notes on what was left out."""
    found = walk(root)
    if not found.pictures:
        others = f" ({listing(f'{n} {kind}' for kind, n in found.others.items())})" if found.others else ""
        raise DataNotFound(root, f"no picture below it{others}", LAYOUTS)
    require_own_names(root, found.pictures)
    notes = [f"{several(found.junk, 'hidden or junk file')} (Thumbs.db and the like) ignored"] if found.junk else []
    bases = _parts(root, found.pictures) or [Base("", root, "", tuple(found.pictures))]
    unlabelled = [base for base in bases if base.part == "test" and not base.classes()]
    for base in unlabelled:
        notes.append(f"{base.name}/ has no class folders: its {len(base.files)} pictures are left out")
    bases = [base for base in bases if base not in unlabelled]
    for base in bases:
        _require_classes(base)
    return bases, tuple(notes)


def _parts(root: Path, files: Sequence[File]) -> list[Base]:
    """A base for each part's folder; none if the folders of `root` are classes. Raises DataError if it is unclear."""
    below: dict[str, list[File]] = defaultdict(list)
    for file in files:
        below[file.folder.partition("/")[0]].append(file)
    bases = [_base(root, name, members) for name, members in below.items() if part_of(name)]
    others = sorted(below.keys() - {base.name.partition("/")[0] for base in bases})
    deep = [base for base in bases if base.classes()]
    if not others:  # "train", "val" and no more are parts, whatever lies in them; "test tube", "train" may be classes
        named = all(name.lower() in PART_WORDS for name in below)
        return bases if deep or named else []
    holds_classes = [base for base in deep if base.part == "train" and "" not in map(base.class_of, base.files)]
    if any(len(base.classes()) > 1 for base in holds_classes):
        beside = listing(f"{name}/" if name else f"{len(below[''])} pictures" for name in others)
        found = f"{beside} beside the part {holds_classes[0].name}/, and of no part"
        raise DataError(root, found, "Move it elsewhere, or into the folder of its part and class")
    return []


def _base(root: Path, name: str, files: Sequence[File]) -> Base:
    """The base of a part's folder, or of the one folder in it that says the same part (seg_train/seg_train)."""
    part, depth = part_of(name), 1
    inner = {file.folder.split("/")[1] if "/" in file.folder else "" for file in files}
    if len(inner) == 1 and part_of(*inner) == part:
        name, depth = f"{name}/{inner.pop()}", 2
    path = root.joinpath(*files[0].path.relative_to(root).parts[:depth])
    return Base(name, path, part, tuple(files))


def _require_classes(base: Base) -> None:
    """Raises DataError for pictures beside the class folders, and for empty class folders where classes are learned."""
    loose = [file.path.name for file in base.files if not base.class_of(file)]
    if len(loose) == len(base.files):
        raise DataError(base.path, f"{len(loose)} pictures and no class folders", LAYOUTS)
    if loose:
        found = f"{len(loose)} pictures lie beside the class folders: {listing(loose)}"
        raise DataError(base.path, found, "Move each into the folder of its class, or remove it")
    full = {file.path.relative_to(base.path).parts[0] for file in base.files}
    empty = sorted(entry.name for entry in base.path.iterdir() if entry.is_dir() and entry.name not in full)
    empty = [name for name in empty if not name.startswith(".") and name.lower() not in JUNK]
    if empty and base.part in ("", "train"):
        found = f"no picture in {listing(f'{name}/' for name in empty)}, which lies among the class folders"
        raise DataError(base.path, found, "Put the pictures of the class there, or remove the folder")


def _names(root: Path, bases: Sequence[Base]) -> list[str]:
    """The names of the classes, train's where there is a train. Raises DataError for unlearnable and single ones."""
    learned = [base for base in bases if base.part in ("", "train")]
    names = sorted({name for base in learned or bases for name in base.classes()})
    for base in bases:
        extra = sorted(set(base.classes()) - set(names))
        if extra:
            found = f"classes that train has not: {listing(extra)}"
            raise DataError(base.path, found, "Add pictures of them to train, or remove the folders")
    if len(names) < 2:
        inner = f"; or is {root / names[0]} the folder that you mean?" if bases[0].name == "" else ""
        fix = f"Give the folder that holds a folder for each of at least two classes{inner}"
        raise DataError(root, f"one class only: {listing(names)}", fix)
    words = {name.lower() for name in names}
    if words & MASK_WORDS and words <= MASK_WORDS | IMAGE_WORDS:
        fix = "Choose task=segmentation (or binary, multilabel), or rename the folders"
        raise DataError(root, f"folders called {listing(names)}: these are images with masks, not classes", fix)
    return names
