"""Simulated studies, few of each: the full table is `python benchmarks/coverage.py`."""

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.coverage import WORLDS, of_images, of_scenes, verdicts


@pytest.fixture(autouse=True)
def fewer_studies(monkeypatch):
    monkeypatch.setattr(coverage, "STUDIES", 500)
    monkeypatch.setattr(coverage, "TRUE_SEEDS", 1000)


@pytest.mark.parametrize("world", WORLDS)
def test_new_scenes_are_covered(world):
    effect = 0.15 if world == "scenes" else 0.0  # where seeds vary little, few are needed for the truth
    found = of_scenes(WORLDS[world], effect, 3, 5, np.random.default_rng(1))
    assert found["covered"] >= 0.93


def test_with_seeds_and_blocks_enough_the_interval_is_not_much_wider_than_it_must_be():
    found = of_scenes(WORLDS["seeds"], 0.0, 10, 20, np.random.default_rng(1))
    assert 0.93 <= found["covered"] <= 0.98
    assert 1 < found["width"] < 1.4


@pytest.mark.parametrize(("seeds", "blocks"), [(3, 5), (10, 20)])
def test_these_images_are_covered_and_a_planted_difference_is_found_as_predicted(seeds, blocks):
    found = of_images(WORLDS["mixed"], 0.15, seeds, blocks, np.random.default_rng(1))
    assert 0.93 <= found["covered"] <= 0.97
    assert found["found"] == pytest.approx(found["predicted"], abs=0.04)


@pytest.mark.parametrize("comparisons", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_variant_against_itself_is_rarely_better_or_worse(comparisons, monkeypatch):
    monkeypatch.setattr(coverage, "COMPARISONS", comparisons)
    (shares,) = verdicts(5, 20, np.random.default_rng(1), margins=(0.0,)).values()  # any margin makes it rarer still
    assert 0 < shares.get("better", 0) + shares.get("worse", 0) <= 0.05


def test_every_cell_of_the_table_is_made_and_named_once():
    names = [name for name, _ in coverage.work()]
    assert len(set(names)) == len(names) == 9 * (5 * 2 * 2 + 2) + 3 + 4 * 3
