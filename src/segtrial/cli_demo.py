"""Nothing -> a trained model, scores, a report and answers in one folder: `segtrial demo`."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from segtrial import api, console
from segtrial.data import open_dataset
from segtrial.data.sample import Sample
from segtrial.files import write_atomic
from segtrial.training import Watch

SOURCE = "toytown"
PICTURES = 6


def run(out: Path, minutes: float, watch: Watch) -> None:
    """Train on generated street scenes, then predict some of them as if they were a user's files.

    Called again it continues where it was stopped, or shows again what there is.
    """
    watch.note(f"Trains compact, a small network, for {minutes:g} minutes on generated street scenes ({SOURCE}).")
    trained = api.train(data=SOURCE, out=out / "run", minutes=minutes, watch=watch)
    pictures = _write_pictures(out / "pictures")
    trained.predict([pictures], out / "answers", watch=watch)
    console.print_evaluation(trained.evaluation)
    print(_closing(out, trained))


def _write_pictures(folder: Path) -> Path:
    """A few images that the network was not trained on, as PNG files."""
    dataset = open_dataset(SOURCE)
    items = dataset.parts["val"]
    for item in items[:: -(-len(items) // PICTURES)]:
        name = item.key.replace("/", "-")
        write_atomic(folder / f"{name}.png", _png(dataset.read(item)))
    return folder


def _png(sample: Sample) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(sample.image.transpose(1, 2, 0))).save(buffer, "png")
    return buffer.getvalue()


def _closing(out: Path, trained: api.Run) -> str:
    return f"""
Look at   {trained.report} (open it in a browser)
Model     {trained.model}
Pictures  {out / "pictures"}, their answers in {out / "answers"}

Next, your own folder of images and masks:
  segtrial inspect FOLDER
  segtrial train --data FOLDER --minutes 10 --out runs/first
  segtrial predict runs/first IMAGES --out answers"""
