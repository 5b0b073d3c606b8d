"""The range test of learning rates: closed forms, one answer for one recipe, and a folder that a run may begin in."""

import json
import math
import re

import numpy as np
import pytest

import segtrial as st
from segtrial import cli, training
from segtrial.api import make_recipe
from segtrial.errors import Interrupted, RunError
from segtrial.reports import rates as picture
from segtrial.training import rate_test
from segtrial.training.rate_test import DIVERGED, HIGHEST, LOWEST, STEPS, judged, rates, smoothed
from tests.training.killing import digests

DATA = "toytown:scenes=6,frames=2,size=32x48"
WORDS = (
    "threads=1", "precision=float32", "evaluations=1", "checkpoint_seconds=1000", "progress_steps=1",
    "phases=[{share: .5, batch: 2, crop: 1, scale: [1, 1]}, {share: .5, batch: 3, crop: 1, scale: [1, 1]}]",
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the test says of sgd, and its folder."""
    out = tmp_path_factory.mktemp("rates") / "run"
    return find(out, "optimizer.name=sgd"), out


def find(out, *more, model="compact:width=8"):
    return st.find_lr(model, DATA, out, settings=(*WORDS, *more))


# ---- the arithmetic --------------------------------------------------------------------------------------------------


def test_rates_rise_by_a_fixed_factor_from_end_to_end():
    assert (rates()[0], rates()[-1], len(rates())) == (LOWEST, pytest.approx(HIGHEST), STEPS)
    np.testing.assert_allclose(rates()[1:] / rates()[:-1], (HIGHEST / LOWEST) ** (1 / (STEPS - 1)))


def test_the_mean_is_centred_and_keeps_lines():
    """A mean that lags would move a line; weights that are alike on both sides do not, away from the ends."""
    line = [1 + 0.5 * step for step in range(60)]
    np.testing.assert_allclose(smoothed(line)[20:40], line[20:40], rtol=1e-6)
    np.testing.assert_allclose(smoothed([2.0] * 9), 2.0)


def test_the_mean_by_hand():
    near, far = math.exp(-1 / 18), math.exp(-4 / 18)  # one and two steps of 3 apart
    expected = [(1 + 4 * near + 2 * far) / (1 + near + far), (near * 3 + 4) / (2 * near + 1)]
    np.testing.assert_allclose(smoothed([1.0, 4.0, 2.0])[:2], expected)


def cliff(middle: float, width: float = 0.4) -> list[float]:
    """Losses that fall by half a logistic curve of log10(rate), steepest at `middle`."""
    return [1.5 + math.tanh((middle - math.log10(rate)) / width) / 2 for rate in rates()]


@pytest.mark.parametrize("middle", [-4.0, -2.5, -1.0])
def test_the_steepest_fall_of_a_known_curve_is_found(middle):
    said = judged(cliff(middle))
    assert math.log10(said["suggestion"]) == pytest.approx(middle, abs=0.06)  # rates are .08 apart, and two digits
    assert said["diverged"] is said["tenth_of_diverged"] is None
    assert said["rates"][-1] == pytest.approx(HIGHEST)


def test_a_steeper_fall_near_the_lowest_loss_is_passed_over():
    """The second fall is the steeper one, and less than a factor of ten below the rate at which the loss is lowest."""
    losses = [first + 1.2 * second for first, second in zip(cliff(-4.0), cliff(-1.0), strict=True)]
    losses[85:] = [2.5] * 15  # the loss is lowest at 1e-7 (1e8)^(84/99), which is .61
    assert math.log10(judged(losses)["suggestion"]) == pytest.approx(-4, abs=0.06)
    losses = [first + 0.8 * second for first, second in zip(cliff(-4.0), cliff(-2.5), strict=True)]
    assert math.log10(judged(losses)["suggestion"]) == pytest.approx(-4, abs=0.06)
    losses = [first + 1.2 * second for first, second in zip(cliff(-4.0), cliff(-2.5), strict=True)]
    assert math.log10(judged(losses)["suggestion"]) == pytest.approx(-2.5, abs=0.06)


def test_a_fall_after_the_lowest_loss_is_no_suggestion():
    """A jump up and a cliff back down: the fall is steeper there, but learning was over before."""
    losses = cliff(-4.0)
    losses[80:90] = [5.0] * 10
    assert math.log10(judged(losses)["suggestion"]) == pytest.approx(-4, abs=0.06)


@pytest.mark.parametrize("losses", [[2.0] * STEPS, [2.0 - 0.001 * step for step in range(STEPS)], [1.0], [1.0, 0.1]])
def test_where_nothing_falls_nothing_is_suggested(losses):
    assert judged(losses)["suggestion"] is None


def test_divergence_is_where_the_mean_is_so_many_times_the_lowest():
    losses = [1.0] * 50
    assert judged(losses)["diverged"] is None
    while judged(losses)["diverged"] is None:
        losses.append(10.0)
    mean = smoothed(losses)
    assert mean[-1] > DIVERGED * mean.min()
    assert smoothed(losses[:-1])[-1] <= DIVERGED
    said = judged(losses)
    assert said["diverged"] == float(f"{rates()[len(losses) - 1]:.2g}")
    assert said["tenth_of_diverged"] == pytest.approx(said["diverged"] / 10, rel=0.05)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_divergence_and_no_part_of_the_curve(bad):
    said = judged([2.0, 1.9, 1.8, bad])
    assert said["diverged"] == float(f"{rates()[3]:.2g}")
    assert said["losses"] == [2.0, 1.9, 1.8]
    json.dumps(said, allow_nan=False)


# ---- the test itself -------------------------------------------------------------------------------------------------


def test_what_is_returned_is_what_is_written(found):
    said, out = found
    assert json.loads((out / "find_lr.json").read_text()) == said
    assert said["schema"] == 1
    assert (said["model"], said["optimizer"], said["batch"], said["size"]) == ("compact:width=8", "sgd", 2, [32, 64])
    assert said["lr"] == 0.05  # the default of sgd
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == ["find_lr.json", "find_lr.svg"]


def test_the_same_words_give_the_same_figures_and_another_seed_others(tmp_path, monkeypatch):
    monkeypatch.setattr(rate_test, "STEPS", 8)
    first, second, other = (find(tmp_path / name, *more) for name, more in (("a", ()), ("b", ()), ("c", ("seed=1",))))
    assert first == second
    assert first["losses"] != other["losses"]


def test_the_curve_begins_with_the_loss_of_the_runs_first_batch(found, tmp_path, monkeypatch):
    """The network, its batches and its draws are the run's; and nothing but the rate of the optimizer moves."""
    said, _ = found
    run = st.train("compact:width=8", DATA, tmp_path / "run", steps=4, settings=(*WORDS, "optimizer.name=sgd"))
    first = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert said["losses"][0] == first["loss"]
    assert said["losses"][1] == pytest.approx(said["losses"][0], rel=0.5)
    monkeypatch.setattr(rate_test, "STEPS", 8)
    said = find(tmp_path / "near", "optimizer.name=sgd")
    far = find(tmp_path / "far", "optimizer.name=sgd", "optimizer.lr=7.0", "schedule.name=poly", "ema=0.5")
    assert far["lr"] == 7.0
    np.testing.assert_allclose(far["losses"], said["losses"], rtol=1e-3)


def test_too_high_a_rate_is_found_and_the_suggestion_is_below_it(tmp_path):
    words = ("optimizer.name=sgd", "loss.name=cross_entropy", "seed=1")  # a seed that diverges far below the end
    said = find(tmp_path / "run", *words, model="unet:batchnorm=false,width=8,depth=3")
    assert said["diverged"] is not None
    assert LOWEST < said["suggestion"] < said["diverged"]


def test_groups_keep_their_ratios(tmp_path, monkeypatch):
    """Muon's own part is ten times faster than the rest, at every rate of the sweep."""
    seen = []
    step = rate_test.Learner.step

    def noting(learner, batch):
        loss = step(learner, batch)
        seen.append(tuple(group["lr"] for group in learner.optimizer.param_groups))
        return loss

    monkeypatch.setattr(rate_test.Learner, "step", noting)
    monkeypatch.setattr(rate_test, "STEPS", 6)
    find(tmp_path / "muon", "optimizer.name=muon")
    np.testing.assert_allclose([max(lrs) for lrs in seen], rates())
    np.testing.assert_allclose([min(lrs) / max(lrs) for lrs in seen], 0.1)


def test_a_run_begins_in_the_folder_as_in_an_empty_one_and_its_report_shows_the_curve(found, tmp_path):
    _, out = found
    recipe = make_recipe({"model": "compact:width=8", "data": DATA}, {"steps": 2}, None, WORDS)
    clean = training.train(recipe, tmp_path / "clean")
    run = st.train("compact:width=8", DATA, out, steps=2, settings=WORDS)
    assert digests(run.path) == digests(clean) | {
        name: value for name, value in digests(run.path).items() if name.startswith("find_lr")
    }
    page = run.report.read_text()
    assert "Learning rates tried" in page
    assert "is suggested: the loss falls steepest there" in page
    with pytest.raises(RunError, match=r"holds a run already\. Leave --find-lr out"):
        st.find_lr("compact:width=8", DATA, out, settings=(*WORDS, "steps=2"))


def test_a_folder_of_other_files_is_refused_and_an_interrupted_test_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(RunError, match=r"holds files that are no run \(mine.txt\)"):
        find(tmp_path)

    def stop(self):
        raise Interrupted(2)

    monkeypatch.setattr(rate_test.StopRequest, "raise_if_asked", stop)
    with pytest.raises(Interrupted):
        find(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_the_command_line_prints_curve_figures_and_what_to_type(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rate_test, "STEPS", 8)
    settings = [word for setting in WORDS for word in ("--set", setting)]
    words = [
        "train",
        "--find-lr",
        "--model",
        "compact:width=8",
        "--data",
        DATA,
        "--out",
        str(tmp_path / "run"),
        *settings,
    ]
    assert cli.main(["--traceback", *words]) == 0
    said = capsys.readouterr().out
    test = json.loads((tmp_path / "run" / "find_lr.json").read_text())
    rows = [line.split() for line in said.splitlines() if line.endswith("#")]
    assert [float(row[0]) for row in rows] == pytest.approx([float(f"{rate:.1e}") for rate in test["rates"][::4]])
    assert [float(row[1]) for row in rows] == pytest.approx(test["smoothed"][::4], abs=6e-4)
    assert str(tmp_path / "run" / "find_lr.svg") in said
    assert cli.main([*words, "--fit-batch"]) == 2
    assert "two trials at once" in capsys.readouterr().err


def test_the_words_fit_the_figures():
    say = picture.wording.rate_test
    base = judged(cliff(-2.0))
    assert "A learning rate of 0.0" in say(base)
    assert "does not diverge up to 10." in say(base)
    assert "diverges at 0.5, a tenth of which is 0.05." in say(base | {"diverged": 0.5, "tenth_of_diverged": 0.05})
    assert "no learning rate is suggested" in say(judged([2.0] * STEPS))


def test_the_picture_stands_alone_and_repeats(tmp_path):
    test = judged(cliff(-2.0))
    (tmp_path / "find_lr.json").write_text(json.dumps(test))
    svg = picture.write(tmp_path).read_text()
    assert picture.write(tmp_path).read_text() == svg
    used = {name.removeprefix("var(").removesuffix(")") for name in re.findall(r"var\(--\w+\)", svg)}
    assert used <= {*picture.LIGHT, "--sans"}  # a name without a colour would be black on black
    assert f">{test['suggestion']:g}</text>" in svg
    flat = picture.draw(judged([2.0] * STEPS))
    assert "<svg" in flat
