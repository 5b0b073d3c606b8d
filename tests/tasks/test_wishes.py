"""What a task cannot do is refused before training, with the fix; what one task learned, another can start from."""

import re
from pathlib import Path

import numpy as np
import pytest

from segtrial import cli
from tests.tasks import folders


@pytest.mark.parametrize(
    ("task", "setting", "message"),
    [
        ("colorization", "loss.name=dice", "loss 'dice'.*There are: l1, l2, smooth_l1"),
        ("colorization_bins", "loss.name=l1", "loss 'l1'.*There are: cross_entropy"),
        ("classification", "loss.name=bce_with_logits", "There are: boundary, cross_entropy"),
        ("binary", "loss.name=cross_entropy", "There are: bce_with_logits"),
        ("classification", "augment.cutmix=1", "mixes masks, which classification has none of"),
        ("colorization", "augment.mixup=0.4", "augment.mixup blends the answers too"),
        (
            "colorization",
            "loss.class_weights=enet",
            "weighs classes, which colorization has none of. Set it to none",
        ),
        ("colorization", "loss.label_smoothing=0.1", "without cross_entropy"),
        ("colorization_bins", "loss.label_smoothing=0.1", "the cross-entropy of bins has none. Set loss.label_smoo"),
        ("colourization", "seed=1", "Did you mean 'colorization'"),
    ],
)
def test_choices_that_a_task_has_not_are_refused(task, setting, message, tmp_path, capsys):
    words = ["train", "--task", task, "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--set", setting]
    assert cli.main(words) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def said_of(data: Path, task: str, tmp_path: Path, capsys) -> str:
    assert cli.main(folders.words(data, tmp_path / "run", task)) == 2
    assert not (tmp_path / "run" / "plan.json").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize("task", ["binary", "classification"])
def test_a_folder_of_masks_is_not_taken_for_something_else(task, tiny_data, own_cache, tmp_path, capsys):
    expected = {"binary": "3 classes", "classification": "called images, masks: these are images with masks"}[task]
    said = said_of(tiny_data, task, tmp_path, capsys)
    assert expected in said
    assert "task=segmentation" in said


def test_photos_without_colour_teach_no_colours(own_cache, tmp_path, capsys):
    for index in range(4):
        grey = folders.photo(index).mean(2, keepdims=True).astype(np.uint8).repeat(3, 2)
        folders.save(tmp_path / "data" / f"{index}.png", grey)
    assert "no photo has colour (grey are 4, transparent 0)" in said_of(
        tmp_path / "data", "colorization", tmp_path, capsys
    )


@pytest.mark.slow
def test_what_one_task_learned_another_starts_from(own_cache, tmp_path, capsys):
    """A segmenter's weights go into a binary run, all but the head's; a colorizer's into that of bins."""
    for first, then in (("segmentation", "binary"), ("colorization", "colorization_bins")):
        runs = {task: tmp_path / f"run-{task}" for task in (first, then)}
        data = {task: folders.write(task, tmp_path / f"data-{task}") for task in (first, then)}
        assert cli.main(folders.words(data[first], runs[first], first)) == 0
        assert cli.main([*folders.words(data[then], runs[then], then), "--from", str(runs[first])]) == 0
        taken, total = re.search(r"Took over (\d+) of (\d+) tensors", capsys.readouterr().err).groups()  # type: ignore[union-attr]
        assert int(taken) == int(total) - 2
