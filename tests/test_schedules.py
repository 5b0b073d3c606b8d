"""Every schedule is torch's own at every step, with its options; a plateau is torch's for any scores."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from segtrial.errors import UnknownName
from segtrial.schedules import SCHEDULES, Shape, learning_rate_factor, plateau_factor

STEPS = 40
FALLING = [name for name in sorted(SCHEDULES) if name != "onecycle"]

# name, options, torch's scheduler over STEPS steps
PEERS = [
    ("constant", {}, lambda sgd: lr_scheduler.ConstantLR(sgd, factor=1.0)),
    ("step", {}, lambda sgd: lr_scheduler.MultiStepLR(sgd, [STEPS // 2, 3 * STEPS // 4], gamma=0.1)),
    ("step", {"share": 0.1}, lambda sgd: lr_scheduler.StepLR(sgd, STEPS // 10, gamma=0.1)),
    ("step", {"share": 0.35, "factor": 0.5}, lambda sgd: lr_scheduler.StepLR(sgd, 14, gamma=0.5)),
    ("step", {"factor": 0.3}, lambda sgd: lr_scheduler.MultiStepLR(sgd, [20, 30], gamma=0.3)),
    ("multistep", {}, lambda sgd: lr_scheduler.MultiStepLR(sgd, [20, 30], gamma=0.1)),
    (
        "multistep",
        {"marks": (0.1, 0.3, 0.7), "factor": 0.2},
        lambda sgd: lr_scheduler.MultiStepLR(sgd, [4, 12, 28], gamma=0.2),
    ),
    ("multistep", {"marks": ()}, lambda sgd: lr_scheduler.ConstantLR(sgd, factor=1.0)),
    ("poly", {}, lambda sgd: lr_scheduler.PolynomialLR(sgd, total_iters=STEPS, power=0.9)),
    ("poly", {"power": 2.0}, lambda sgd: lr_scheduler.PolynomialLR(sgd, total_iters=STEPS, power=2.0)),
    ("linear", {}, lambda sgd: lr_scheduler.LinearLR(sgd, start_factor=1.0, end_factor=0.0, total_iters=STEPS)),
    ("cosine", {}, lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, T_max=STEPS)),
    ("onecycle", {}, lambda sgd: one_cycle(sgd, 0.3)),
    ("onecycle", {"rise": 0.45}, lambda sgd: one_cycle(sgd, 0.45)),
]


def one_cycle(optimizer, rise):
    """torch ends its cycle one step early, and its rise too: give it a step more, of which the last has progress 1."""
    share = (rise * STEPS + 1) / (STEPS + 1)
    return lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=STEPS + 1, pct_start=share, anneal_strategy="cos", cycle_momentum=False
    )


def test_every_schedule_has_a_peer():
    assert {name for name, _, _ in PEERS} == set(SCHEDULES) - {"plateau"}  # which falls by scores, see below


@pytest.mark.parametrize(("name", "options", "peer"), PEERS, ids=[f"{name}-{options}" for name, options, _ in PEERS])
def test_a_schedule_is_torchs_own(name, options, peer):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = peer(optimizer)
    for step in range(STEPS):
        factor = learning_rate_factor(name, step / STEPS, shape=Shape(**options))
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-12), step
        optimizer.step()
        scheduler.step()


@given(st.integers(1, 60), st.data())
def test_a_rate_falls_at_every_whole_share(count, data):
    """The number of falls by integer arithmetic: shares and progress are fractions that floats do not hold."""
    every = data.draw(st.integers(1, count))
    for step in range(count):
        factor = learning_rate_factor("step", step / count, shape=Shape(share=every / count, factor=0.5))
        assert factor == 0.5 ** (step // every)


@pytest.mark.parametrize("name", FALLING)
def test_warm_up_rises_in_a_line_and_the_rest_keeps_its_shape(name):
    assert learning_rate_factor(name, 0.0, warmup=0.2) == 0
    assert learning_rate_factor(name, 0.05, warmup=0.2) == pytest.approx(0.25)
    assert learning_rate_factor(name, 0.2, warmup=0.2) == pytest.approx(1.0)
    for progress in (0.2, 0.5, 0.81, 0.99):
        shape = learning_rate_factor(name, (progress - 0.2) / 0.8)
        assert learning_rate_factor(name, progress, warmup=0.2) == pytest.approx(shape)


@pytest.mark.parametrize("name", FALLING)
def test_a_factor_never_rises_after_warm_up_and_stays_in_its_range(name):
    factors = [learning_rate_factor(name, step / 100, warmup=0.1) for step in range(10, 100)]
    assert all(0 <= later <= earlier <= 1 for earlier, later in itertools.pairwise(factors))
    assert factors[0] == pytest.approx(1.0)


def test_one_cycle_rises_by_itself():
    for progress in (0.0, 0.1, 0.3, 0.9):
        assert learning_rate_factor("onecycle", progress, warmup=0.2) == learning_rate_factor("onecycle", progress)
    assert learning_rate_factor("onecycle", 0.0) == pytest.approx(1 / 25)
    assert learning_rate_factor("onecycle", 0.3) == 1
    assert learning_rate_factor("onecycle", 1.0) == pytest.approx(1 / 250_000)


def test_an_unknown_schedule_lists_the_known_ones():
    with pytest.raises(UnknownName, match=r"schedule 'cosin'.*Did you mean 'cosine'.*constant, cosine, linear, .*step"):
        learning_rate_factor("cosin", 0.5)


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 4), st.sampled_from([0.1, 0.5]))
def test_a_plateau_is_torchs(scores, patience, factor):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    peer = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=factor, patience=patience - 1, threshold=0.0, threshold_mode="abs", eps=0.0
    )
    for count, score in enumerate(scores, start=1):
        peer.step(score)
        found = plateau_factor(scores[:count], patience, factor)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_a_plateau_by_hand():
    assert plateau_factor([], 2) == 1
    assert plateau_factor([0.3, 0.3], 2) == 1
    assert plateau_factor([0.3, None, 0.3], 2) == 0.1  # an undefined score is no better
    assert plateau_factor([0.3, 0.2, 0.3, 0.1, 0.3], 2, 0.5) == 0.25
    assert plateau_factor([0.3, 0.2, 0.4, 0.1], 2) == 1
