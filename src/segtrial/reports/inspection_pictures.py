"""An inspection in, small pictures of its items and files out; of what cannot be read, the reason in words instead.

Label maps are shrunk so that rare classes win over common ones: what is thin stays visible.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from segtrial.classes import Classes
from segtrial.data._parallel import each
from segtrial.data.masks import Encoding, as_colors, as_values, pack, read_mask, read_mask_picture
from segtrial.data.pairing import find_pairs
from segtrial.data.pictures import DEEP_GREY_MODES, EXTENSIONS, has_alpha, read_picture
from segtrial.data.sample import Item, Sample
from segtrial.drawing import error_map, overlay, picture_of
from segtrial.errors import DataError, UserError
from segtrial.inspection import Inspection
from segtrial.inspection.faults import relative
from segtrial.inspection.records import nearest_meaning
from segtrial.reports import wording
from segtrial.reports.pictures import Panel, contents, label_picture, panel

SIDE = 208
"""Pixels of the longer side of a picture: three stand in half a page."""

DARK = 64
"""A mask without a value as high as this is stretched to be seen: its numbers are classes, not greys."""

Labels = UInt8[np.ndarray, "h w"]
Mark = Literal["", "off", "far"]
"""Which pixels of a mask are marked: none, those beside the palette, those too far from every class."""


@dataclass(frozen=True)
class Wish:
    """What is to be shown: an item or a file by the name that a finding gives it.

    `beside` names the picture that it is like, `masks` whether their masks are compared too. `alone` shows the image
    without its mask.
    """

    name: str
    beside: str = ""
    masks: bool = False
    alone: bool = False
    mark: Mark = ""


@dataclass(frozen=True)
class Shown:
    """What a wish became: a name and a part (or class) to print, and panels; one without a picture says why."""

    name: str
    part: str
    panels: tuple[Panel, ...]

    @property
    def letters(self) -> int:
        """How much of a page its pictures take."""
        return sum(len(one.source) for one in self.panels)


@dataclass(frozen=True)
class Seen:
    """What could be read of an item, small: pictures, or the reason why not. `labels` and `words` if it has classes."""

    image: Image.Image | str
    mask: Image.Image | str
    labels: Labels | None
    words: str
    sizes: tuple[tuple[int, int], tuple[int, int]]
    """Height and width of image and mask, as they lie on disk."""


@dataclass(frozen=True)
class Album:
    """Shows the items of an inspection. `items` has the part and the item that each name means."""

    inspection: Inspection
    items: dict[str, tuple[str, Item]]

    def all_of(self, wishes: Sequence[Wish], progress: Callable[[int, int], object] | None = None) -> list[Shown]:
        """Each wish as it can be shown, read in threads. Never raises DataError."""
        shown: list[Shown] = []
        for one in each(self.show, wishes):
            assert isinstance(one, Shown)
            shown.append(one)
            if progress is not None:
                progress(len(shown), len(wishes))
        return shown

    def knows(self, name: str) -> bool:
        """Whether there is a picture, or ought to be one, of what has this name."""
        return name in self.items or Path(name).suffix.lower() in EXTENSIONS

    def show(self, wish: Wish) -> Shown:
        """The panels of one wish."""
        part, item = self.items.get(wish.name, ("", None))
        if wish.beside:
            return Shown("", "", tuple(self._beside(wish)))
        if item is None:
            return Shown(wording.plain(wish.name), part, (self._lone(wish.name, "file"),))
        seen = see(self.inspection, item)
        name, given = wording.plain(item.key), wording.plain(wish.name)
        if self.inspection.understood.content == "classes":
            return Shown(
                given, ": ".join(filter(None, (part, seen.words))), (_panel("image", f"Image {name}", seen.image),)
            )
        image = _panel("image", f"Image {name}", seen.image)
        if wish.alone:
            return Shown(given, part, (image,))
        mask = self._mask(item, seen, wish.mark)
        return Shown(given, part, (image, mask, *self._overlay(seen)))

    def _mask(self, item: Item, seen: Seen, mark: Mark) -> Panel:
        encoding = self.inspection.encoding
        if mark and encoding is not None and item.target is not None:
            with suppress(DataError):
                picture, share = marked(item.target, encoding, mark)
                return panel("marked", f"Mask; marked in red: {wording.percent(share)} of its pixels", picture)
        return _panel("mask", f"Mask: {seen.words}", seen.mask)

    def _overlay(self, seen: Seen) -> Iterator[Panel]:
        """The mask over its image, if both could be read."""
        classes = self.inspection.classes
        if isinstance(seen.image, str) or isinstance(seen.mask, str) or classes is None:
            return
        if seen.sizes[0] != seen.sizes[1]:
            (h, w), (mask_h, mask_w) = seen.sizes
            yield _panel("overlay", "", f"the mask is {mask_h}x{mask_w}, the image {h}x{w} (height x width)")
        elif seen.labels is not None:
            yield panel("overlay", "The mask over its image", Image.fromarray(_over(seen.image, seen.labels, classes)))

    def _beside(self, wish: Wish) -> Iterator[Panel]:
        """Two images that are alike, and where their masks differ."""
        both: list[Seen] = []
        for name in (wish.name, wish.beside):
            part, item = self.items.get(name, ("", None))
            if item is None:
                yield self._lone(name, wording.plain("/".join(Path(name).parts[-3:])))
                continue
            both.append(see(self.inspection, item))
            title = wording.plain(item.key if part in ("", *item.key.split("/")) else f"{part}: {item.key}")
            yield _panel(title, f"Image {title}", both[-1].image)
        if wish.masks and len(both) == 2:
            yield from _compared(*both)

    def _lone(self, name: str, title: str) -> Panel:
        """A file that belongs to no item, such as an image without a mask."""
        root = self.inspection.understood.root or Path()
        shown = _attempt(lambda: small(viewable(read_picture(root / name))))
        return _panel(title, f"File {wording.plain(name)}", shown)


def open_album(inspection: Inspection) -> Album:
    """The album of an inspection. Pairs with a broken half, which are no items, are found by their names."""
    items: dict[str, tuple[str, Item]] = {}
    several: set[str] = set()
    for part, members in inspection.understood.items.items():
        for item in members:
            for name in _names(inspection, item):
                several |= {name} & items.keys()  # one file of outlines for many pictures means none of them
                items[name] = (part, item)
    for part, item in _broken_pairs(inspection):
        for name in _names(inspection, item):
            items.setdefault(name, (part, item))
    return Album(inspection, {name: one for name, one in items.items() if name not in several})


def _names(inspection: Inspection, item: Item) -> set[str]:
    files = (path for path in (item.image, item.target) if path is not None)
    return {item.key, *(relative(inspection.understood.root, path) for path in files)}


def _broken_pairs(inspection: Inspection) -> Iterator[tuple[str, Item]]:
    root = inspection.understood.root
    if root is None or not inspection.understood.faults:
        return
    with suppress(UserError):
        for pair in find_pairs(root).pairs:
            yield pair.part, Item(pair.key, pair.key, pair.image, pair.target)


def see(inspection: Inspection, item: Item) -> Seen:
    """What can be read of an item: all of it as training reads it, or else each half by itself."""
    reason = ""
    if inspection.dataset is not None:
        try:
            return _of_sample(inspection, inspection.dataset.read(item))
        except DataError as error:
            reason = error.found
    image, size = _half(item.image, reason or "there is no image", viewable)
    mask, mask_size = _half(item.target, reason or "there is no mask", stretched)
    labels, words = _labels(inspection, item)
    if labels is not None and inspection.classes is not None and not isinstance(mask, str):
        labels = shrunk(labels, mask.size)
        mask = label_picture(labels, inspection.classes)
    return Seen(image, mask, labels, words, (size, mask_size))


def _of_sample(inspection: Inspection, sample: Sample) -> Seen:
    assert inspection.classes is not None
    image = small(Image.fromarray(picture_of(sample.image)))
    if inspection.understood.content == "classes":
        return Seen(
            image, "", None, wording.plain(inspection.classes.names[int(sample.target.flat[0])]), ((0, 0), (0, 0))
        )
    labels = shrunk(sample.target, image.size)
    height, width = sample.target.shape
    words = wording.plain(contents(sample.target, inspection.classes))
    return Seen(image, label_picture(labels, inspection.classes), labels, words, ((height, width), (height, width)))


def _half(
    path: Path | None, reason: str, view: Callable[[Image.Image], Image.Image]
) -> tuple[Image.Image | str, tuple[int, int]]:
    """One file of an item as a small picture, or the reason why not; and its size."""
    if path is None or path.suffix.lower() not in EXTENSIONS:
        return reason, (0, 0)
    picture = _attempt(lambda: read_picture(path))
    if isinstance(picture, str):
        return picture, (0, 0)
    return small(view(picture)), (picture.height, picture.width)


def _labels(inspection: Inspection, item: Item) -> tuple[Labels | None, str]:
    """The classes of a mask that can be read by itself, and what it shows in words."""
    if item.target is None:
        return None, ""
    if inspection.encoding is None or inspection.classes is None:
        return None, "as it is, its classes are not known"
    try:
        labels = read_mask(item.target, inspection.encoding)
    except DataError as error:
        return None, wording.plain(error.found)
    return labels, wording.plain(contents(labels, inspection.classes))


def _attempt(read: Callable[[], Image.Image]) -> Image.Image | str:
    try:
        return read()
    except DataError as error:
        return error.found


def viewable(picture: Image.Image) -> Image.Image:
    """Any picture as RGB, to look at: transparency over grey, and what is not 0 to 255 stretched to that."""
    if has_alpha(picture):
        above = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (128, 128, 128, 255)), above).convert("RGB")
    if picture.mode in (*DEEP_GREY_MODES, "I", "F"):
        values = np.nan_to_num(np.asarray(picture).astype(np.float64))
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)).convert("RGB")
    return picture.convert("RGB")


def stretched(picture: Image.Image) -> Image.Image:
    """A mask as RGB, to look at: small numbers are stretched, so that they are not all black."""
    seen = viewable(picture)
    extremes = np.reshape(seen.getextrema(), (-1, 2))  # channels, low and high
    return ImageOps.autocontrast(seen) if extremes[:, 1].max() < DARK else seen


def small(picture: Image.Image) -> Image.Image:
    """At most SIDE pixels a side, in the same shape."""
    shrink = SIDE / max(picture.size)
    if shrink >= 1:
        return picture
    size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def shrunk(labels: Labels, size: tuple[int, int]) -> UInt8[np.ndarray, "_ _"]:
    """Class indices at a smaller size (w, h). Each pixel takes the class with the most of its area, where the areas of
    a class count by one over the root of its pixels in the picture."""
    if labels.shape == size[::-1]:
        return labels
    result = np.zeros(size[::-1], np.uint8)
    best = np.full(size[::-1], -1.0, np.float32)
    for value, pixels in zip(*np.unique(labels, return_counts=True), strict=True):
        plane = Image.fromarray((labels == value).astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        weight = np.asarray(plane, np.float32) / np.sqrt(np.float32(pixels))
        result[weight > best] = value
        best = np.maximum(best, weight)
    return result


def marked(path: Path, encoding: Encoding, mark: Mark) -> tuple[Image.Image, float]:
    """A mask, dimmed, with the pixels that stand for no class in red, and their share. Raises MaskError."""
    picture = read_mask_picture(path)
    numbers = as_colors(picture) if encoding.colors is not None else as_values(path, picture)
    strange = strangers(numbers, encoding, encoding.tolerance if mark == "far" else 0.0)
    below = small(stretched(picture))
    red = Image.fromarray(strange.astype(np.uint8) * 255).resize(below.size, Image.Resampling.BOX)
    touched = (np.asarray(red) > 0).astype(np.uint8)  # also one pixel of a hundred
    image = np.ascontiguousarray(np.asarray(below).transpose(2, 0, 1))  # c h w
    return Image.fromarray(error_map(image, np.zeros_like(touched), touched)), float(strange.mean())


def strangers(numbers: np.ndarray, encoding: Encoding, limit: float) -> Bool[np.ndarray, "h w"]:
    """Pixels (packed colours, or values) that are farther than `limit` from every class."""
    known = [pack(color) for color in encoding.colors] if encoding.colors is not None else list(encoding.values or {})
    values, places = np.unique(numbers, return_inverse=True)
    table = np.array(sorted(known), dtype=np.int64)
    _, distance = nearest_meaning(values, table, packed=encoding.colors is not None)
    return (distance > limit)[places].reshape(numbers.shape)


def _over(image: Image.Image, labels: Labels, classes: Classes) -> np.ndarray:
    return overlay(np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), labels, classes)


def _compared(one: Seen, other: Seen) -> Iterator[Panel]:
    """The masks of two equal images, and where they differ."""
    yield _panel("mask of the first", f"Mask: {one.words}", one.mask)
    yield _panel("mask of the second", f"Mask: {other.words}", other.mask)
    if one.labels is None or other.labels is None or one.labels.shape != other.labels.shape:
        return
    if not isinstance(one.image, str):
        image = np.ascontiguousarray(np.asarray(one.image).transpose(2, 0, 1))  # c h w
        apart = Image.fromarray(error_map(image, one.labels, other.labels))
        share = float(np.mean(one.labels != other.labels))
        yield panel("where they differ", f"In red where the masks differ: {wording.percent(share)}", apart)


def _panel(title: str, alt: str, picture: Image.Image | str) -> Panel:
    """A panel, or one without a picture (source "") whose `alt` is the reason."""
    if isinstance(picture, str):
        return Panel(title, wording.plain(picture), "", 0, 0)
    return panel(title, alt, picture)
