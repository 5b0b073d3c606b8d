"""Two trained networks -> docs/figures/first.png: image | truth | one | the other | where they differ.

    python docs/figures/draw_first.py [MINUTES]

Trains both on generated street scenes, with one seed and one budget, into runs/first/ (a run that is finished is not
trained again), and draws the val picture on which they differ most.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import segtrial as st
from segtrial.classes import Classes
from segtrial.data import open_dataset
from segtrial.data.sample import Sample
from segtrial.drawing import colored, legend, picture_of

ROOT = Path(__file__).parents[2]
SOURCE = "toytown"
CONTESTANTS = ("compact", "unet:encoder=resnet18")
ENLARGED, GAP, TITLE = 2, 8, 22
SAME, FIRST, SECOND, NEITHER = (232, 232, 232), (27, 158, 119), (217, 95, 2), (90, 90, 90)


def main(minutes: float = 2.5) -> None:
    runs = [
        st.train(name, SOURCE, ROOT / "runs/first" / name.partition(":")[0], minutes=minutes) for name in CONTESTANTS
    ]
    models = [st.load(run.path) for run in runs]
    dataset = open_dataset(SOURCE)
    samples = [dataset.read(item) for item in dataset.parts["val"]]
    answers = [[st.answer(model, sample.image).values for model in models] for sample in samples]
    most = max(range(len(samples)), key=lambda index: int((answers[index][0] != answers[index][1]).sum()))
    names = [run.evaluation["scores"]["miou_dataset"] for run in runs]
    titles = [f"{name.partition(':')[0]}, mIoU {score:.2f}" for name, score in zip(CONTESTANTS, names, strict=True)]
    drawn = figure(samples[most], answers[most], titles, dataset.classes)
    drawn.save(Path(__file__).with_name("first.png"), optimize=True)


def figure(sample: Sample, answers: list[np.ndarray], titles: list[str], classes: Classes) -> Image.Image:
    """Five panels in a row, their titles above, the classes below."""
    first, second = answers
    panels = {
        "image": picture_of(sample.image),
        "truth": colored(sample.target, classes),
        titles[0]: colored(first, classes),
        titles[1]: colored(second, classes),
        "right: green the first, orange the second": difference(sample.target, first, second),
    }
    height, width = (ENLARGED * side for side in sample.target.shape)
    below = Image.fromarray(legend(classes, 5 * width))
    whole = Image.new("RGB", (5 * width + 4 * GAP, TITLE + height + GAP + below.height), "white")
    for number, (title, panel) in enumerate(panels.items()):
        left = number * (width + GAP)
        whole.paste(Image.fromarray(panel).resize((width, height), Image.Resampling.NEAREST), (left, TITLE))
        ImageDraw.Draw(whole).text((left, 2), title, "black", ImageFont.load_default(14))
    whole.paste(below, (0, TITLE + height + GAP))
    return whole


def difference(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pale where both answer alike; else the colour of the one that is right, dark if neither is."""
    picture = np.full((*truth.shape, 3), SAME, np.uint8)
    differ = first != second
    picture[differ] = NEITHER
    picture[differ & (first == truth)] = FIRST
    picture[differ & (second == truth)] = SECOND
    return picture


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
