"""A folder's words -> types: Item (where one sample lies), Sample (its arrays), Dataset (what a folder is)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from segtrial.classes import Classes


@dataclass(frozen=True)
class Sample:
    """One image and its target.

    `image` is uint8 (0 to 255) or float32 (0 to 1); `target` holds class indices and IGNORE.
    Where a whole picture is what is learned, the target is a plane of one value, and cache, crops, splits and
    loaders need no other case: the number of its class for classification, 0 for photos (colorization). IGNORE
    is then only what a crop adds beyond the image.
    `key` names the sample for ever; a split never cuts a `group` (independent photographs: group == key).
    """

    image: UInt8[np.ndarray, "c h w"] | Float32[np.ndarray, "c h w"]
    target: UInt8[np.ndarray, "h w"]
    key: str
    group: str


@dataclass(frozen=True)
class Item:
    """Where one sample comes from. `image` and `target` are None if it is generated."""

    key: str
    group: str
    image: Path | None = None
    target: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """What a source turned out to be.

    `parts` maps "train", "val" and perhaps "test" to items sorted by key. `read` decodes one item and
    validates it (DataError names the file); it can be pickled. `fingerprint` is cheap and changes when the
    item's files do. `notes` tell the user, in words, what was understood and what to beware of.
    """

    root: Path | None
    layout: str
    classes: Classes
    parts: Mapping[str, tuple[Item, ...]]
    read: Callable[[Item], Sample] = field(repr=False)
    fingerprint: Callable[[Item], str] = field(repr=False)
    notes: tuple[str, ...] = ()
