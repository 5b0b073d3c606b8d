"""What explanations and a calibration say, against sums written out: every number of a page rests on one of these."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segtrial import modelfile, tasks
from segtrial.calibration import calibration_counts, fit_temperature
from segtrial.classes import Classes
from segtrial.evaluation import Counts
from segtrial.explaining import Wish, explain_image, temperature, worst_jobs
from segtrial.explaining.bands import without_bands
from segtrial.explaining.occlusion import Patch, occlusion
from segtrial.explaining.targets import Target, choose
from segtrial.models._whole import Whole
from segtrial.reports.explain_pictures import reliability_diagram
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer, make
from tests.exporting import parts

MEAN = torch.tensor([0.25, 0.5, 0.75])
SIZE = (7, 9)
EVERYWHERE = Target(1, np.ones(SIZE, bool), "everywhere")
TWO = tasks.make("segmentation", Classes.numbered(2))


class Sum(nn.Module):
    """Each score is a weighted sum of the bands, below zero too."""

    multiple = 1

    def __init__(self, weights: list[list[float]]):
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, image):
        return (torch.einsum("kc,bchw->bkhw", self.weights, image),)


def whole(*weights: list[float]) -> Whole:
    return Whole(Sum(list(weights)), MEAN, torch.ones(3)).eval()


def test_a_patch_has_the_mean_colour_and_a_pixel_the_mean_of_the_places_that_hide_it():
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    patch, network = Patch(3, 2), whole([0.0, 0.0, 0.0], [1.0, -2.0, 0.5])
    (found,) = occlusion(network, TWO, image, [EVERYWHERE], patch)
    speaks = torch.einsum("c,chw->hw", torch.tensor([1.0, -2.0, 0.5]), image - MEAN[:, None, None]).numpy()
    total, count = np.zeros(SIZE), np.zeros(SIZE)
    for row, top in enumerate(range(0, SIZE[0], 2)):
        for column, left in enumerate(range(0, SIZE[1], 2)):
            inside = (slice(top, top + 3), slice(left, left + 3))
            fall = speaks[inside].sum() / speaks.size  # what is hidden of the mean over the region
            assert found.drops[row, column] == pytest.approx(fall, abs=1e-6)
            total[inside] += fall
            count[inside] += 1
    assert count.max() > count.min() > 0
    np.testing.assert_allclose(found.map, total / count, atol=1e-6)


def test_a_band_that_is_taken_away_has_its_mean_everywhere():
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
    network = whole([0.0, 0.0, 0.0], [1.0, -2.0, 0.5])
    answer = TWO.answer(network(image[None])[0], image)
    bands = without_bands(network, TWO, image, answer, None, [EVERYWHERE])
    for band, weight, pixels, mean in zip(bands, (1.0, -2.0, 0.5), image, MEAN, strict=True):
        assert band.drops == pytest.approx((weight * float((pixels - mean).mean()),), abs=1e-6)


def test_of_several_masks_a_pixel_changes_if_one_does():
    task = make("multilabel", Classes.numbered(2))
    image = torch.full((3, *SIZE), 0.9)
    network = whole([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])  # each mask rests on a band of its own
    answer = task.answer(network(image[None])[0], image)
    changed = [band.changed.all() for band in without_bands(network, task, image, answer, None, [EVERYWHERE])]
    assert changed == [True, True, False]


def test_the_largest_mistake_is_of_one_class_for_one_other():
    task = make("segmentation", Classes.numbered(4))
    answer = Answer(np.array([[0, 0, 2, 3, 3, 3]], np.uint8), np.ones((1, 6), np.float32))
    truth = np.array([[1, 1, 1, IGNORE, IGNORE, IGNORE]], np.uint8)
    mistake = choose(task, answer, truth)[-1]
    assert (mistake.index, mistake.words) == (0, "where it is a mistake for class_1")
    assert mistake.region.tolist() == [[True, True, False, False, False, False]]


def test_classes_that_are_not_answered_are_not_asked_about():
    task = make("segmentation", Classes.numbered(4))
    answer = Answer(np.full((2, 3), 2, np.uint8), np.ones((2, 3), np.float32))
    assert [target.index for target in choose(task, answer, None)] == [2]


def test_a_pages_diagram_is_that_of_the_tempered_scores(tmp_path):
    loaded = modelfile.load(parts.saved(tmp_path / "m.safetensors", "compact:width=2"))
    warm = replace(loaded, header=loaded.header.model_copy(update={"temperature": 0.1}))
    sample = parts.Memory(1)[0]
    found = explain_image(warm, sample.image, sample.target, Wish(patch=40)).told["calibration"]["counts"]
    with torch.no_grad():
        scores = loaded.network(torch.from_numpy(sample.image)[None].float() / 255)
    expected, other = (
        calibration_counts(scores / heat, torch.from_numpy(sample.target)[None])[0].tolist() for heat in (0.1, 1)
    )
    assert found == expected != other


def test_the_worst_come_first_and_what_is_undefined_last():
    task = make("segmentation", Classes.numbered(2))
    right, wrong, half = [[5, 0], [0, 5]], [[0, 5], [5, 0]], [[5, 0], [5, 0]]
    rows = np.array([right, np.zeros((2, 2)), wrong, half], np.int64)
    part = parts.Memory(4)
    counts = Counts(tuple(part.keys), tuple(part.groups), rows)
    assert [job.name for job in worst_jobs(part, counts, task, 4)] == ["002", "003", "000", "001"]
    assert [job.name for job in worst_jobs(part, counts, task, 1)] == ["002"]


def test_the_diagram_says_how_sure_and_how_right():
    counts = np.array([[0, 8, 2], [0, 2, 2], [0, 4 * 2**24, 2 * 2**24 - 2**22]])
    told = reliability_diagram("r", counts, 2**-24)
    assert "0.50 sure 0.25 right, 0.88 sure 1.00 right" in told


def drawn(*scales: float) -> temperature.Drawn:
    """A fold for each scale: the same kind of scores, so many times as sure as they should be."""
    rng = torch.Generator().manual_seed(0)
    scores = [torch.randn(3000, 3, generator=rng) for _ in scales]
    target = [torch.multinomial(each.softmax(1), 1, generator=rng)[:, 0].to(torch.uint8) for each in scores]
    folds = [torch.full((3000,), number) for number in range(len(scales))]
    return temperature.Drawn(
        torch.cat([s * each for s, each in zip(scales, scores, strict=True)]), torch.cat(target), torch.cat(folds)
    )


def test_what_is_held_out_is_scored_at_the_temperature_of_the_others():
    both = drawn(1.0, 4.0)
    first, second = ((both.logits[both.fold == fold], both.target[both.fold == fold]) for fold in (0, 1))
    cold, warm = fit_temperature(*first), fit_temperature(*second)
    assert (cold, warm) == (pytest.approx(1, rel=0.1), pytest.approx(4, rel=0.1))
    loss = [F.cross_entropy(scores / heat, target.long()) for (scores, target), heat in ((first, warm), (second, cold))]
    assert temperature._crossed(both, 2).nll == pytest.approx(float(sum(loss)) / 2, rel=1e-5)


def test_a_group_is_in_one_fold_and_what_is_held_out_is_compared_with_the_files_own_temperature(tmp_path):
    path = parts.saved(tmp_path / "m.safetensors", "compact:width=2")
    modelfile.calibrated(path, 3, path)
    loaded, part = modelfile.load(path), parts.Memory(6, groups=3)
    found = temperature.draw(loaded, part, 2)
    sizes = np.cumsum([0, *(height * width for height, width in part.sizes)])
    folds = [set(found.fold[a:b].tolist()) for a, b in pairwise(sizes)]
    assert folds == [{int(group.removeprefix("clip")) % 2} for group in part.groups]
    told = temperature.calibrate(loaded, part)
    assert told.held_out is not None
    assert told.held_out[0] == told.before == temperature.trust(found.logits, found.target, 3)
