"""A folder -> the picture files below it, each with what its path says of it: role, part, and the rest."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from segtrial.data.pictures import EXTENSIONS
from segtrial.errors import DataNotFound, PairingError, listing

JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
ARRAYS = (".npz", ".npy")
MASK_WORDS = frozenset(
    re.findall(
        r"\w+",
        "mask masks label labels annot annots annotation annotations gt groundtruth ground truth segmentation"
        " segmentations seg segs target targets segmentationclass trimap trimaps manual",
    )
)
IMAGE_WORDS = frozenset(
    re.findall(
        r"\w+",
        "image images img imgs rgb jpegimages pngimages photo photos picture pictures input inputs leftimg frames",
    )
)
PART_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
INSTANCES = "SegmentationObject"  # Pascal VOC's numbered objects, beside its SegmentationClass


@dataclass(frozen=True)
class File:
    """One picture file. `key` is its path below the root without extension; `rest` the folders that say nothing."""

    path: Path
    key: str
    stem: str
    role: str  # "image", "mask", or "" where the path does not say
    part: str  # "train", "val", "test", or ""
    rest: tuple[str, ...]
    folder: str


@dataclass
class Found:
    """All files below a folder: pictures in order of their keys, arrays, and counts of what else lies there."""

    pictures: list[File] = field(default_factory=list)
    junk: int = 0
    others: Counter[str] = field(default_factory=Counter)  # by extension
    json: list[Path] = field(default_factory=list)
    arrays: list[Path] = field(default_factory=list)  # .npz and .npy


@dataclass(frozen=True)
class Sight:
    """What `walk` passes over, and what it found before."""

    hidden: frozenset[str]
    known: dict[Path, Found]


_sight: ContextVar[Sight | None] = ContextVar("sight", default=None)


@contextmanager
def hiding(paths: frozenset[str]) -> Iterator[None]:
    """Inside, `walk` passes over these files and folders, and walks each root once.

    The data doctor looks so at a folder without what is broken.
    """
    token = _sight.set(Sight(paths, {}))
    try:
        yield
    finally:
        _sight.reset(token)


def hidden_files() -> frozenset[str]:
    """The files that `walk` passes over now."""
    sight = _sight.get()
    return sight.hidden if sight is not None else frozenset()


def hidden_stems() -> frozenset[str]:
    """Their names, without endings: lists may name them all the same."""
    return frozenset(Path(path).stem for path in hidden_files())


def walk(root: Path) -> Found:
    """Every picture below `root`; linked folders are followed once, hidden ones and junk are not."""
    sight = _sight.get()
    if sight is None:
        return _walk(root, frozenset())
    if root not in sight.known:
        sight.known[root] = _walk(root, sight.hidden)
    return sight.known[root]


def _walk(root: Path, hidden: frozenset[str]) -> Found:
    found, seen, waiting = Found(), {os.path.realpath(root)}, [root]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.path in hidden:
                continue
            if entry.name.startswith(".") or entry.name.lower() in JUNK:
                found.junk += 1
            elif _is_folder(entry):
                if os.path.realpath(entry.path) not in seen:
                    seen.add(os.path.realpath(entry.path))
                    waiting.append(Path(entry.path))
            else:
                _add(found, root, Path(entry.path))
    found.pictures.sort(key=lambda file: (file.key, file.path.name))
    found.arrays.sort()
    return found


def part_of(name: str) -> str:
    """The part that a folder's or a file's name says: "train", "val", "test", or ""."""
    return next((PART_WORDS[word] for word in _words(name) if word in PART_WORDS), "")


def require_own_names(root: Path, files: Sequence[File]) -> None:
    """Raises PairingError if two pictures have one key, as a.jpg beside a.png."""
    counts = Counter(file.key for file in files)
    twice = [file.path.relative_to(root) for file in files if counts[file.key] > 1]
    if twice:
        raise PairingError(root, f"pictures that share one name: {listing(twice)}", "Keep one of each, or rename them")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataNotFound(folder, f"cannot be listed ({error.strerror})", "Make it readable, or remove it") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        fix = "Remove the link, or point it somewhere else"
        raise DataNotFound(entry.path, f"cannot be followed ({error.strerror})", fix) from error


def _add(found: Found, root: Path, path: Path) -> None:
    extension = path.suffix.lower()
    if extension in EXTENSIONS:
        found.pictures.append(_file(root, path))
        return
    found.others[extension or path.name] += 1
    if extension == ".json":
        found.json.append(path)
    elif extension in ARRAYS:
        found.arrays.append(path)


def _file(root: Path, path: Path) -> File:
    folders = [unicodedata.normalize("NFC", name) for name in path.relative_to(root).parts[:-1]]
    stem = unicodedata.normalize("NFC", path.stem)
    words = [_words(name) for name in folders]
    roles = [role for role in (_role(name) for name in words) if role]
    parts = [part for part in map(part_of, folders) if part]
    rest = tuple(name for name, said in zip(folders, words, strict=True) if not _role(said) and not _only_part(said))
    return File(
        path,
        "/".join([*folders, stem]),
        stem,
        "" if not roles or INSTANCES in folders else roles[-1],
        parts[0] if parts else "",
        rest,
        "/".join(folders),
    )


def _words(name: str) -> list[str]:
    """The words of a folder's name, in small letters: "Train_RGB" -> train rgb; "trainannot" -> train annot."""
    pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    words: list[str] = [piece.lower() for piece in pieces]
    if len(words) == 1:
        glued = re.fullmatch(r"(train|val|test)(annot|annots|mask|masks|label|labels|gt|img|images?)", words[0])
        return list(glued.groups()) if glued else words
    whole = name.lower()
    return [whole] if whole in MASK_WORDS | IMAGE_WORDS else words


def _role(words: list[str]) -> str:
    if any(word in MASK_WORDS for word in words):
        return "mask"
    return "image" if any(word in IMAGE_WORDS for word in words) else ""


def _only_part(words: list[str]) -> bool:
    return any(word in PART_WORDS for word in words)
