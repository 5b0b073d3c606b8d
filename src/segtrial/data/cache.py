"""One part of a data set -> Store: every sample checked, decoded once, and mapped from disk for ever.

An entry is a folder: images.bin and targets.bin (all arrays end to end) and index.json (keys, groups, sizes,
fingerprints, hashes). It is built in a private folder and renamed, under a lock, so that a kill leaves an
entry or none, and several processes may ask at once. A changed file, another encoding or a damaged entry
makes it be built again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np

from segtrial.data._parallel import each, raise_all
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.errors import DataError, SplitError, UnknownName
from segtrial.files import failpoint, held, sha256, sync_folder

SCHEMA = 1
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Store:
    """The samples of one part, in key order; arrays are views into a memory map.

    The map is private to the process (copy on write): writing into an array never changes the cache.
    `sizes` are (h, w). `manifest` is a SHA-256 over keys, groups, decoded contents and class table: equal
    manifests mean equal data, wherever it lies. A Store can be pickled; it maps the same files again.
    """

    folder: Path
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: list[tuple[int, int]]
    channels: int
    dtype: str
    manifest: str
    notes: tuple[str, ...] = ()
    _maps: tuple[np.ndarray, np.ndarray, list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        images = np.memmap(self.folder / "images.bin", dtype=self.dtype, mode="c")
        targets = np.memmap(self.folder / "targets.bin", dtype=np.uint8, mode="c")
        starts = [0, *accumulate(height * width for height, width in self.sizes)]
        object.__setattr__(self, "_maps", (images.view(np.ndarray), targets.view(np.ndarray), starts))

    def __reduce__(self) -> tuple:
        known = (self.folder, self.keys, self.groups, self.sizes, self.channels, self.dtype, self.manifest, self.notes)
        return Store, known

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        images, targets, starts = self._maps
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        height, width = self.sizes[index]
        start, stop = starts[index], starts[index + 1]
        image = images[start * self.channels : stop * self.channels].reshape(self.channels, height, width)
        return Sample(image, targets[start:stop].reshape(height, width), self.keys[index], self.groups[index])

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def open_store(dataset: Dataset, part: str, *, cache: Path | None = None, progress: Progress | None = None) -> Store:
    """The part `part` of `dataset`, from the cache or decoded into it now. Safe to call from several processes.

    `cache`: its folder; else the environment variable SEGTRIAL_CACHE, else the user's cache folder. Where
    that cannot be written, a private temporary folder serves, and the store's notes say so.
    `progress(done, total)` is called while decoding. Raises the DataError of every faulty file as one error,
    SplitError if the part is empty and UnknownName if there is no such part.
    """
    if part not in dataset.parts:
        raise UnknownName("part", part, dataset.parts)
    items = dataset.parts[part]
    if not items:
        raise SplitError(str(dataset.root or dataset.layout), f"the part {part!r} is empty", "Add images to it")
    base, notes = _writable(cache or default_cache())
    name = _name(dataset, part, items)
    with held(base / f"{name}.lock"):
        wanted = [dataset.fingerprint(item) for item in items]
        index = _read_index(base / name, dataset, wanted)
        if index is None:
            _build(base, name, dataset, items, wanted, progress)
            index = _read_index(base / name, dataset, wanted)
        assert index is not None, "an entry that was just built is valid"
        return _store(base / name, index, notes)


def default_cache() -> Path:
    """SEGTRIAL_CACHE, else `segtrial` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    if os.environ.get("SEGTRIAL_CACHE"):
        return Path(os.environ["SEGTRIAL_CACHE"])
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "segtrial"


def _name(dataset: Dataset, part: str, items: Sequence[Item]) -> str:
    """One name for one selection of one source: another split is another entry."""
    root = str(dataset.root.resolve()) if dataset.root else ""
    selection = sha256(json.dumps([root, dataset.layout, part, [(i.key, i.group) for i in items]]).encode())[:20]
    return f"{dataset.layout}-{part}-{selection}"


def _store(folder: Path, index: dict, notes: tuple[str, ...]) -> Store:
    sizes = [(height, width) for height, width in index["sizes"]]
    keys, groups = tuple(index["keys"]), tuple(index["groups"])
    return Store(folder, keys, groups, sizes, index["channels"], index["dtype"], index["manifest"], notes)


def _read_index(folder: Path, dataset: Dataset, fingerprints: list[str]) -> dict | None:
    """The index of an entry that is whole and up to date, else None."""
    try:
        index = json.loads((folder / "index.json").read_text())
        pixels = sum(height * width for height, width in index["sizes"])
        sizes = pixels * index["channels"] * np.dtype(index["dtype"]).itemsize, pixels
        whole = sizes == tuple((folder / name).stat().st_size for name in ("images.bin", "targets.bin"))
        current = index["schema"] == SCHEMA and index["fingerprints"] == fingerprints
        same_table = index["classes"] == dataset.classes.to_json()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index if whole and current and same_table else None


def _build(
    base: Path, name: str, dataset: Dataset, items: Sequence[Item], fingerprints: list[str], progress: Progress | None
) -> None:
    """Decode every item into a private folder, then put it in place. Call it under the entry's lock."""
    for leftover in base.glob(f".{name}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    private = base / f".{name}.{os.getpid()}.partial"
    try:
        private.mkdir()
        index = _decode(private, dataset, items, progress) | {"fingerprints": fingerprints}
        _write_synced(private / "index.json", json.dumps(index).encode())
        failpoint("cache.before_rename")
        shutil.rmtree(base / name, ignore_errors=True)
        os.rename(private, base / name)
        sync_folder(base)
    except OSError as error:
        fix = "Free some space, or set SEGTRIAL_CACHE to a folder on another disk"
        raise DataError(base, f"the cache cannot be written ({error.strerror})", fix) from error
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _decode(private: Path, dataset: Dataset, items: Sequence[Item], progress: Progress | None) -> dict:
    """Write the two array files; the rest of the index is returned. Raises one error for all faulty files."""
    sizes: list[tuple[int, ...]] = []
    hashes: list[str] = []
    kinds: set[tuple[int, str]] = set()
    errors: list[DataError] = []
    with (private / "images.bin").open("wb") as images, (private / "targets.bin").open("wb") as targets:
        for done, result in enumerate(each(lambda item: _arrays(dataset.read(item)), items), start=1):
            if isinstance(result, DataError):
                errors.append(result)
            else:
                image, target, digest = result
                sizes.append(target.shape)
                kinds.add((len(image), image.dtype.name))
                hashes.append(digest)
                images.write(image.data)
                targets.write(target.data)
                failpoint("cache.sample")
            if progress is not None:
                progress(done, len(items))
        raise_all(str(dataset.root or dataset.layout), errors, len(items))
        for file in (images, targets):
            file.flush()
            os.fsync(file.fileno())
    assert len(kinds) == 1, f"one data set, several kinds of image: {kinds}"
    channels, dtype = kinds.pop()
    table = dataset.classes.to_json()
    keys, groups = [item.key for item in items], [item.group for item in items]
    manifest = sha256(json.dumps([keys, groups, hashes, table]).encode())
    index = {"schema": SCHEMA, "keys": keys, "groups": groups, "sizes": sizes, "channels": channels, "dtype": dtype}
    return index | {"manifest": manifest, "classes": table}


def _arrays(sample: Sample) -> tuple[np.ndarray, np.ndarray, str]:
    """The sample's arrays, contiguous, and a SHA-256 of their shape and contents."""
    image, target = np.ascontiguousarray(sample.image), np.ascontiguousarray(sample.target)
    digest = hashlib.sha256(f"{image.shape} {image.dtype.name}".encode())
    digest.update(image.data)
    digest.update(target.data)
    return image, target, digest.hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _writable(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """`folder`, or a temporary one (removed at exit) with a note if `folder` cannot be written."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder, ()
    note = f"the cache folder {folder} cannot be written: a temporary one is used, and decoding is done again next time"
    return _private_cache(), (f"{note} (set SEGTRIAL_CACHE)",)


_temporary: list[tempfile.TemporaryDirectory] = []  # one for this process, kept until it ends


def _private_cache() -> Path:
    if not _temporary:
        _temporary.append(tempfile.TemporaryDirectory(prefix="segtrial-"))
    return Path(_temporary[0].name)
