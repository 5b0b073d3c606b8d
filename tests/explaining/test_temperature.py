"""The temperature against scipy's minimiser and by hand; it changes confidence everywhere and answers nowhere."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import OptimizeResult, minimize_scalar

from segtrial import api, cli, modelfile, tasks
from segtrial.calibration import TEMPERATURES, fit_temperature, negative_log_likelihood
from segtrial.classes import Classes
from segtrial.errors import DataError, RecipeError
from segtrial.evaluation import evaluate, result_json
from segtrial.explaining import calibrate, temperature
from segtrial.exporting.card import card
from segtrial.prediction import Asker
from segtrial.prediction.flips import views
from segtrial.shapes import IGNORE
from tests.exporting import parts

LOG3 = float(np.log(3))


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((200, 4)) * rng.uniform(0.5, 6)
    target = rng.integers(0, 4, 200).astype(np.uint8)
    agree = rng.random(200) < rng.uniform(0.5, 0.9)
    target[agree] = logits.argmax(1)[agree]
    return torch.from_numpy(logits).float(), torch.from_numpy(target)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_temperature_is_likelier_to_scipys_minimiser(seed):
    logits, target = case(seed)

    def error(log: float) -> float:
        return torch.nn.functional.cross_entropy(logits.double() / np.exp(log), target.long()).item()

    expected = minimize_scalar(error, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-9})
    assert isinstance(expected, OptimizeResult)
    found = fit_temperature(logits, target)
    assert found == pytest.approx(np.exp(expected.x), rel=1e-4)
    assert negative_log_likelihood(logits, target, found) == pytest.approx(expected.fun, abs=1e-9)


@pytest.mark.parametrize("factor", [1, 3, 0.25])
def test_scores_times_three_need_a_temperature_of_three(factor):
    # three of four are class 0, with odds of 3 to 1: believable as it is, so T is the factor
    logits = factor * torch.tensor([[LOG3, 0.0]] * 4)
    assert fit_temperature(logits, torch.tensor([0, 0, 0, 1], dtype=torch.uint8)) == pytest.approx(factor, rel=1e-6)


def test_without_an_optimum_it_ends_at_the_bounds_and_without_pixels_it_is_1():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    right = torch.tensor([0, 1], dtype=torch.uint8)
    assert fit_temperature(logits, right) == TEMPERATURES[0]
    assert fit_temperature(logits, 1 - right) == TEMPERATURES[1]
    assert fit_temperature(logits[:0], right[:0]) == 1
    assert np.isnan(negative_log_likelihood(logits[:0], right[:0]))


CASES = {"segmentation": 3, "binary": 1, "multilabel": 3, "classification": 3}


def task_of(name: str) -> tasks.Task:
    return tasks.make(name, Classes.numbered(2 if name == "binary" else 3))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(sorted(CASES)),
    hot=st.sampled_from([0.01, 0.3, 1, 1.5, 3, 100]),
)
def test_answers_do_not_depend_on_it_and_confidence_is_the_softmax_of_scores_over_it(seed, name, hot):
    rng, task = np.random.default_rng(seed), task_of(name)
    noise = rng.standard_normal((CASES[name], 5, 6)).astype(np.float32)
    near = np.nextafter(noise[:1], np.float32(np.inf), dtype=np.float32)  # one bit apart: a division may make it none
    scores = torch.from_numpy(np.concatenate([noise[:1], near, noise[2:]]) if len(noise) > 2 else noise)
    cold, warm = (one.answer(scores, torch.zeros(3, 5, 6)) for one in (task, task.at(hot)))
    if name == "classification":
        np.testing.assert_allclose(warm.values, (scores.mean((1, 2)) / hot).softmax(0), atol=1e-6)
        return
    assert np.array_equal(cold.values, warm.values)
    if name == "segmentation":
        expected = (scores / hot).softmax(0).amax(0)
    else:
        expected = torch.maximum((scores / hot).sigmoid(), (-scores / hot).sigmoid()).amin(0)
    assert warm.confidence is not None
    np.testing.assert_allclose(warm.confidence, expected, atol=1e-6)
    assert torch.equal(task.at(1).probabilities(scores[None]), task.probabilities(scores[None]))


@pytest.mark.parametrize("hot", [0.05, 4.0])
def test_labels_of_several_views_do_not_depend_on_it(tmp_path, hot):
    loaded = modelfile.load(parts.saved(tmp_path / "m.safetensors", "compact:width=2"))
    images = torch.from_numpy(parts.Memory(1)[0].image)[None]
    cold, warm = (Asker(loaded.network, task, views=views("flip")) for task in (loaded.task, loaded.task.at(hot)))
    assert torch.equal(cold(images), warm(images))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return parts.saved(tmp_path_factory.mktemp("model") / "tiny.safetensors", "compact:width=2")


def test_a_file_with_another_temperature_differs_in_nothing_else(tiny, tmp_path):
    modelfile.calibrated(tiny, 2.5, tmp_path / "warm.safetensors")
    cold, warm = modelfile.load(tiny), modelfile.load(tmp_path / "warm.safetensors")
    assert (cold.header.temperature, warm.header.temperature, warm.task.temperature) == (1, 2.5, 2.5)
    assert warm.header.model_copy(update={"temperature": 1.0}) == cold.header
    assert all(torch.equal(a, b) for a, b in zip(cold.network.parameters(), warm.network.parameters(), strict=True))
    modelfile.calibrated(tmp_path / "warm.safetensors", 1, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == tiny.read_bytes()
    assert json.loads(card(warm, numbers="uint8", precision="fp32"))["temperature"] == 2.5


def test_calibrate_agrees_with_what_evaluate_then_says(tiny, tmp_path):
    part = parts.Memory(5, groups=3)
    found = calibrate(modelfile.load(tiny), part)
    assert found.n_pixels == sum(height * width for height, width in part.sizes)
    assert found.after.nll < found.before.nll
    assert found.folds == 3
    modelfile.calibrated(tiny, found.temperature, tmp_path / "warm.safetensors")
    for path, trust in ((tiny, found.before), (tmp_path / "warm.safetensors", found.after)):
        loaded = modelfile.load(path)
        counts = evaluate(loaded.network, part, loaded.task, device=torch.device("cpu"), extras=True)
        scores = result_json(counts, loaded.task)["scores"]
        assert scores["ece"] == pytest.approx(trust.ece, abs=1e-5)
    again = calibrate(modelfile.load(tmp_path / "warm.safetensors"), part)
    assert again.temperature == pytest.approx(found.temperature, rel=1e-5)
    assert again.before == found.after


@pytest.mark.parametrize("task", ["binary", "multilabel", "classification"])
def test_other_tasks_are_calibrated_by_their_own_probabilities(task, tmp_path):
    classes = parts.CLASSES if task != "binary" else Classes.named(["no", "yes"])
    loaded = modelfile.load(parts.saved(tmp_path / "m.safetensors", "compact:width=2", task=task, classes=classes))
    part = parts.Memory(4)
    part_sample = type(part).__getitem__

    class Two(parts.Memory):
        def __getitem__(self, index):
            sample = part_sample(self, index)
            sample.target[sample.target > len(classes) - 1] = IGNORE
            return sample

    drawn = temperature.draw(loaded, Two(4), 2)
    outputs = {"binary": 2, "multilabel": 2, "classification": 3}
    assert drawn.logits.shape[1] == outputs[task]
    assert drawn.target.max() < outputs[task]
    assert calibrate(loaded, Two(4)).temperature > 0


def test_few_pixels_are_the_same_few_each_time(tiny, monkeypatch):
    monkeypatch.setattr(temperature, "MOST_PIXELS", 100)
    loaded, part = modelfile.load(tiny), parts.Memory(4)
    first, second = (temperature.draw(loaded, part, 2) for _ in range(2))
    assert len(first.target) == 100
    assert torch.equal(first.logits, second.logits)
    assert torch.bincount(first.fold).tolist() == [50, 50]


def test_one_group_leaves_nothing_to_hold_out(tiny):
    found = calibrate(modelfile.load(tiny), parts.Memory(2, groups=1))
    assert found.held_out is None
    assert "one group" in str(found.reason)


def test_what_cannot_be_calibrated_says_why(tiny):
    with pytest.raises(RecipeError, match="its answers are colours"):
        temperature.require_probabilities(tasks.make("colorization", Classes.numbered(1)))

    class Nothing(parts.Memory):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.target[:] = IGNORE
            return sample

    with pytest.raises(DataError, match="no pixel that counts"):
        calibrate(modelfile.load(tiny), Nothing(1))


def test_the_command_stores_it_and_prints_one_object(tiny, tiny_data, tmp_path, own_cache, capsys):
    model = tmp_path / "mine.safetensors"
    model.write_bytes(tiny.read_bytes())
    words = ["calibrate", str(model), "--data", str(tiny_data), "--json"]
    assert cli.main([*words, "--out", str(tmp_path / "other.safetensors")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        *("schema", "model", "split", "temperature", "temperature_before", "before", "after", "held_out", "reason"),
        *("folds", "n_images", "n_pixels"),
    }
    assert (told["schema"], told["split"], told["n_images"]) == (1, "val", 6)
    assert set(told["before"]) == set(told["held_out"]["after"]) == {"nll", "ece"}
    assert model.read_bytes() == tiny.read_bytes()
    assert cli.main(["calibrate", str(model), "--data", str(tiny_data)]) == 0
    assert "stored in" in capsys.readouterr().out
    assert api.load(model).header.temperature == told["temperature"] != 1


def test_prediction_shows_the_new_confidence_and_the_old_labels(tiny, tiny_data, tmp_path):
    modelfile.calibrated(tiny, 5, tmp_path / "warm.safetensors")
    for name, model in (("cold", tiny), ("warm", tmp_path / "warm.safetensors")):
        api.predict(model, [tiny_data / "val/images/0.png"], tmp_path / name, overlay=False)

    def pixels(name: str) -> np.ndarray:
        return np.asarray(Image.open(tmp_path / name))

    assert np.array_equal(pixels("cold/0.png"), pixels("warm/0.png"))
    assert not np.array_equal(pixels("cold/0_confidence.png"), pixels("warm/0_confidence.png"))
