"""Words of `--save` -> names of files: what people are told is written is what is written, whatever the task."""

import re

import pytest

from segtrial import tasks
from segtrial.classes import Classes
from segtrial.prediction.saved import EACH, endings_of, legend, saved_words, tables_of, wanted_words

TWO = Classes.named(("background", "cat"))


@pytest.mark.parametrize("name", sorted(tasks.TASKS))
def test_every_file_is_explained_and_no_other(name):
    task = tasks.make(name, TWO, (0.0, 0.0))
    for save in (None, saved_words(task)):
        words = wanted_words(task, save, overlay=True, confidence=True)
        files = {f"x{ending}" for ending in endings_of(task, words)} | set(tables_of(task, words))
        told = {file for line in legend(task, words) for file in line.split(", ")}
        masks = {file for file in files if re.match(r"x_\d", file)}  # one for each class
        assert told - {EACH} == files - masks
        assert (EACH in told) == bool(masks) == (name == "multilabel")


def test_what_is_left_out_is_not_explained():
    task = tasks.make("segmentation", TWO)
    assert set(legend(task, wanted_words(task, None, overlay=False, confidence=True))) == {"x.png", "x_confidence.png"}
