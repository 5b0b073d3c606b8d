"""An explained image's arrays in, pictures of a page out: the answer, its errors, heat over the photo, changes."""

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from matplotlib.axes import Axes
from PIL import Image, ImageFilter

from segtrial.drawing import WRONG, confidence_map, error_map
from segtrial.reports import figures, wording
from segtrial.reports.explain_records import Explained
from segtrial.reports.pictures import Panel, contents, label_picture, panel

Picture = UInt8[np.ndarray, "h w 3"]

FALLS, RISES = (214, 40, 40), (38, 104, 220)
"""Colours of what speaks for a class when it is there, and against it."""

MOST_BANDS = 6
"""Bands whose changes are drawn; all are in the table."""


def answer_panels(one: Explained) -> list[Panel]:
    """The image and, as far as there are any, truth, answer, errors and confidence."""
    image, arrays = one.arrays["image"], one.arrays
    found = [panel("image", f"Image {one.name}", Image.fromarray(image))]
    truth, answer = arrays.get("truth"), arrays.get("answer")
    if answer is None:
        return found
    if truth is not None:
        found.append(panel("truth", f"Truth: {contents(truth, one.classes)}", label_picture(truth, one.classes)))
    found.append(panel("answer", f"Answer: {contents(answer, one.classes)}", label_picture(answer, one.classes)))
    if truth is not None:
        wrong = error_map(image.transpose(2, 0, 1), truth, answer)
        words = f"Wrong pixels in red: {wording.percent(_wrong(one))}"
        found.append(panel("wrong pixels", words, Image.fromarray(wrong)))
    confidence = arrays.get("confidence")
    if confidence is not None:
        words = f"Confidence, {float(confidence.mean()):.2f} on average"
        found.append(panel("confidence", words, Image.fromarray(confidence_map(confidence))))
    return found


def target_panels(one: Explained, number: int) -> list[Panel]:
    """The region that is asked about, Grad-CAM and occlusion of one target."""
    told, image = one.told["targets"][number], one.arrays["image"]
    region = one.arrays[f"region_{number}"]
    what = f"{told['class']} {told['where']}"
    panels = [panel("asked about", f"The region: {what}", Image.fromarray(outlined(image, region)))]
    cam = heated(image, one.arrays[f"cam_{number}"])
    panels.append(panel("Seg-Grad-CAM", f"What speaks for {what}, by Grad-CAM", Image.fromarray(cam)))
    hidden = two_sided(image, one.arrays[f"occlusion_{number}"])
    words = f"Where hiding the image lowers (red) or raises (blue) the score of {what}"
    return [*panels, panel("occlusion", words, Image.fromarray(hidden))]


def band_panels(one: Explained) -> list[Panel]:
    """Where the answer is another one without each band; none of an answer for the whole image."""
    image, found = one.arrays["image"], []
    for number, band in enumerate(one.told["bands"][:MOST_BANDS]):
        changed = one.arrays[f"changed_{number}"]
        if changed.shape != image.shape[:2]:
            return []
        picture = Image.fromarray(marked(image, changed))
        words = f"{wording.percent(band['changed'])} of the pixels are answered otherwise without {band['name']}"
        found.append(panel(f"without {band['name']}", words, picture))
    return found


def _wrong(one: Explained) -> float | None:
    right = one.told["right"]
    return None if right is None else 1 - right


def dimmed(image: Picture) -> Float32[np.ndarray, "h w 3"]:
    """The image in grey and paler, so that colours over it are not taken for its own."""
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    return (0.55 * grey + 60).repeat(3, axis=2)


def heated(image: Picture, strength: Float[np.ndarray, "h w"]) -> Picture:
    """Strengths from 0 (the dimmed image) to 1 (light yellow, through violet and red) over the image."""
    value = strength.astype(np.float32).clip(0, 1)
    return _over(dimmed(image), confidence_map(value).astype(np.float32), value**0.5)


def two_sided(image: Picture, values: Float[np.ndarray, "h w"]) -> Picture:
    """Values relative to the largest one: above 0 in the colour FALLS, below in RISES, 0 as the dimmed image."""
    largest = float(np.abs(values).max())
    share = np.abs(values).astype(np.float32) / largest if largest > 0 else np.zeros(values.shape, np.float32)
    color = np.where((values > 0)[..., None], np.array(FALLS, np.float32), np.array(RISES, np.float32))
    return _over(dimmed(image), color, share)


def outlined(image: Picture, region: Bool[np.ndarray, "H W"]) -> Picture:
    """The image as it is inside the region, dimmed outside, with a line around it."""
    if region.shape != image.shape[:2]:
        return image
    inside = Image.fromarray(region.astype(np.uint8) * 255)
    wide = max(3, 2 * (max(region.shape) // 300) + 1)
    edge = np.asarray(inside.filter(ImageFilter.MaxFilter(wide))).astype(bool) & ~region
    picture = np.where(region[..., None], image, dimmed(image) * 0.6).astype(np.uint8)
    picture[edge] = (255, 213, 0)
    return picture


def marked(image: Picture, where: Bool[np.ndarray, "h w"]) -> Picture:
    """Pixels in the colour of errors over the dimmed image."""
    picture = dimmed(image).astype(np.uint8)
    picture[where] = WRONG
    return picture


def _over(below: np.ndarray, above: np.ndarray, share: Float32[np.ndarray, "h w"]) -> Picture:
    return (below * (1 - share[..., None]) + above * share[..., None]).round().astype(np.uint8)


def reliability_diagram(name: str, counts: np.ndarray, unit: float) -> str:
    """The share of right answers over confidence, as inline SVG; `counts` are rows of `segtrial.calibration`.

    Grey bars are the share of the pixels in each bin; a network that can be believed lies on the dashed line.
    """
    pixels, right, sums = counts
    there = pixels > 0
    share, sure = right[there] / pixels[there], sums[there] * unit / pixels[there]
    part, bins = pixels / pixels.sum(), len(pixels)

    def fill(axes: Axes) -> None:
        axes.bar((np.arange(bins) + 0.5) / bins, part, 0.9 / bins, color=figures.GRID)
        axes.plot([0, 1], [0, 1], color=figures.MUTED, linestyle=(0, (4, 3)), linewidth=1)
        axes.plot(sure, share, color=figures.VARIANTS[0], linewidth=2, marker="o", markersize=4)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence", color=figures.MUTED, loc="right", labelpad=1)
        for words, height, color in (("right", float(share[-1]), figures.VARIANTS[0]), ("ideal", 0.88, figures.MUTED)):
            axes.text(1.02, height, words, color=color, va="center")

    told = ", ".join(f"{a:.2f} sure {b:.2f} right" for a, b in zip(sure, share, strict=True))
    return figures.on_axes(name, f"Reliability diagram: {told}", fill)
