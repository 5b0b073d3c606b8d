"""Four trained networks -> docs/figures/five-*.png: five val pictures side by side, as the reports showed theirs.

    python docs/figures/draw_five.py [STEPS]

On generated street scenes, since no photo of others lies in this repository. FCN-32s and U-Net answer for every pixel
(R1's figures 1 and 2, R3's figure 2); U-Net with and without skips colours (R1's figures 3 and 4, R3's figure 3). Each
is trained once, into runs/five/ (a run that is finished is not trained again): pictures, no comparison.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import segtrial as st
from segtrial.data import open_dataset
from segtrial.data.sample import Sample
from segtrial.drawing import colored, picture_of
from segtrial.modelfile import Loaded
from segtrial.prediction import answer

ROOT = Path(__file__).parents[2]
SOURCE = "toytown:size=96x144"
SHOWN, GAP, LEFT = 5, 4, 92
SEGMENTERS = {"FCN-32s": "fcn:stride=32,encoder=resnet18", "U-Net": "unet:width=8,upsampling=bilinear"}
COLORERS = {
    "with skips": "unet:width=8,upsampling=bilinear",
    "without skips": "unet:width=8,upsampling=bilinear,skips=false",
}

Row = tuple[str, Callable[[Sample], np.ndarray]]


def main(steps: int = 300) -> None:
    dataset = open_dataset(SOURCE)
    items = dataset.parts["val"]
    samples = [dataset.read(items[number]) for number in range(0, len(items), len(items) // SHOWN)][:SHOWN]
    image: Row = ("image", lambda sample: picture_of(sample.image))
    truth: Row = ("truth", lambda sample: colored(sample.target, dataset.classes))
    segmented = [_row(name, trained(name, spec, steps)) for name, spec in SEGMENTERS.items()]
    draw("five-masks.png", [image, truth, *segmented], samples)
    grey: Row = ("grey", lambda sample: _grey(picture_of(sample.image)))
    painted = [_row(name, trained(name, spec, steps, "colorization_rgb")) for name, spec in COLORERS.items()]
    draw("five-colors.png", [grey, *painted, ("photo", image[1])], samples)


def trained(name: str, spec: str, steps: int, task: str = "segmentation") -> Loaded:
    """The network, trained for so many steps, or as it was."""
    settings = ["optimizer.name=adam", "optimizer.lr=0.003", "ema=0", "keep=last", "loss.class_weights=none"]
    settings += ["phases=[{share: 1, batch: 8, crop: 1, scale: [1, 1]}]", "evaluations=1"]
    out = ROOT / "runs/five" / name.lower().replace(" ", "-")
    return st.load(st.train(spec, SOURCE, out, steps=steps, task=task, settings=settings).path)


def _row(name: str, model: Loaded) -> Row:
    def shown(sample: Sample) -> np.ndarray:
        values = answer(model.network, model.task, sample.image).values
        return colored(values, model.classes) if values.ndim == 2 else picture_of(values)

    return name, shown


def _grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


def draw(file: str, rows: list[Row], samples: list[Sample]) -> None:
    """Rows of pictures, the name of each on its left."""
    height, width = samples[0].image.shape[-2:]
    size = (LEFT + len(samples) * (width + GAP), len(rows) * (height + GAP))
    whole = Image.new("RGB", size, "white")
    for line, (name, shown) in enumerate(rows):
        top = line * (height + GAP)
        ImageDraw.Draw(whole).text((4, top + height // 2 - 8), name, "black", ImageFont.load_default(13))
        for column, sample in enumerate(samples):
            whole.paste(Image.fromarray(shown(sample)), (LEFT + column * (width + GAP), top))
    whole.quantize(256).save(Path(__file__).with_name(file), optimize=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
