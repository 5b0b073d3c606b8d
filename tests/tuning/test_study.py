"""Bookkeeping of a search, nothing trained: no trial is lost, doubled or moved by kills and by other workers."""

import json
import os
import signal
import time
from collections import Counter
from functools import partial
from multiprocessing import get_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage

from segtrial.errors import Interrupted
from segtrial.signals import StopRequest
from segtrial.tuning.space import Choices, Numbers, spread
from segtrial.tuning.study import Outcome, Study
from tests.tuning import searches
from tests.tuning.searches import Dying, Killed, known, searched, study

FORK = get_context("fork")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return searched(study(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("moment", ["before", "half", "after"])
def test_killed_at_every_line_that_it_writes_a_search_ends_the_same(moment, uninterrupted, tmp_path):
    """Each start gets so far as five lines more, cut off at the sixth."""
    kills = 0
    while True:
        try:
            told = searched(study(tmp_path, lambda path: Dying(path, 6, moment)))
            break
        except Killed:
            kills += 1
    assert kills > searches.WANTED
    assert told == uninterrupted


def test_the_search_has_what_makes_the_tests_above_worth_something(uninterrupted):
    assert {trial["state"] for trial in uninterrupted} >= {"complete", "pruned"}
    assert [trial["number"] for trial in uninterrupted] == list(range(searches.WANTED))
    assert len({json.dumps(trial["setting"]) for trial in uninterrupted}) > searches.WANTED - 3


def test_more_trials_are_the_first_ones_and_more(uninterrupted, tmp_path):
    searched(study(tmp_path), 9)
    assert searched(study(tmp_path), 9) == uninterrupted[:9]
    assert searched(study(tmp_path)) == uninterrupted


def test_the_first_trial_is_the_recipe_itself_and_the_seed_moves_the_others(uninterrupted, tmp_path):
    assert uninterrupted[0]["setting"] == {"optimizer.lr": 0.05, "optimizer.name": "sgd", "accumulate": 1}
    other = searched(study(tmp_path, recipe=searches.base(seed=1).model_dump(mode="json")), 4)
    assert other[0]["setting"] == uninterrupted[0]["setting"]
    assert all(one["setting"] != other["setting"] for one, other in zip(uninterrupted[1:4], other[1:], strict=True))


def test_a_search_finds_the_better_side(tmp_path):
    """Past the evenly spread trials TPE looks where scores are high: by 30 trials near the planted optimum."""
    place = Study(searches.rule(prune="none"), tmp_path, InMemoryStorage())
    assert place.importance() is None, "of nothing"
    told = searched(place, 30)
    best = max(told, key=lambda one: one["score"] or 0)
    assert best["setting"]["optimizer.name"] == "adam"
    assert best["score"] > 0.99
    late = Counter(one["setting"]["optimizer.name"] for one in told[15:])
    assert late["adam"] > late["sgd"]
    shares = place.importance()
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda key: shares[key]) != "accumulate", "which the score does not depend on"


def _worker(folder, wanted, attempt):
    """Slow between asking for a trial and holding it, where another worker could come in between."""
    place = study(folder)
    asked = place._study.ask

    def slowly():
        found = asked()
        time.sleep(0.02)
        return found

    place._study.ask = slowly
    searched(place, wanted, attempt)


def _noted(folder, rule, cell, report, watch):
    with (folder / "who").open("a") as file:
        file.write(f"{os.getpid()} {cell.name}\n")
    time.sleep(0.01)  # so that both get some
    return known(rule, cell, report, watch)


def test_two_workers_on_one_journal_share_the_trials(tmp_path):
    attempt = partial(_noted, tmp_path)
    workers = [FORK.Process(target=_worker, args=(tmp_path, 12, attempt)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    taken = [line.split(maxsplit=1) for line in (tmp_path / "who").read_text().splitlines()]
    assert sorted(name for _, name in taken) == sorted(f"trial {number}" for number in range(12))
    assert len({who for who, _ in taken}) == 2
    told = study(tmp_path).told()
    assert [one["number"] for one in told] == list(range(12))
    assert "running" not in {one["state"] for one in told}


def _dying(rule, cell, report, watch):
    report(1, 0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_of_a_worker_that_died_is_gone_on_with(tmp_path, uninterrupted):
    worker = FORK.Process(target=_worker, args=(tmp_path, 3, _dying))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert [one["state"] for one in study(tmp_path).told()] == ["running"]
    told = searched(study(tmp_path), 3)
    assert [one["number"] for one in told] == [0, 1, 2]
    assert [one["setting"] for one in told] == [one["setting"] for one in uninterrupted[:3]]


def test_whoever_waits_for_others_can_be_stopped(tmp_path):
    one, other, stop = study(tmp_path), study(tmp_path), StopRequest()
    found = one.next(1, stop)
    assert found is not None
    with found[1]:
        stop.signal = signal.SIGTERM
        with pytest.raises(Interrupted):
            other.next(1, stop)


def test_what_diverged_or_failed_has_no_score_and_is_told_once(tmp_path):
    outcomes = iter([Outcome("diverged", message="the loss is nan"), Outcome("failed", message="too large")])
    told = searched(study(tmp_path), 2, lambda *_: next(outcomes))
    assert [(one["state"], one["score"], one["message"]) for one in told] == [
        ("diverged", None, "the loss is nan"),
        ("failed", None, "too large"),
    ]


NUMBERS = st.tuples(st.floats(1e-6, 1e3), st.floats(1.01, 1e6), st.booleans()).map(
    lambda told: Numbers("optimizer.lr", told[0], told[0] * told[1], log=told[2])
)
WHOLE = st.tuples(st.integers(1, 50), st.integers(1, 90), st.booleans()).map(
    lambda told: Numbers("accumulate", told[0], told[0] + told[1], log=told[2], whole=True)
)


@settings(max_examples=30, deadline=None)
@given(NUMBERS, WHOLE, st.sets(st.integers(0, 99), min_size=2), st.integers(0, 2**40), st.integers(0, 500))
def test_every_point_lies_in_its_ranges(rate, pieces, choices, seed, number):
    assert rate.share(float(rate.at(0.5))) == pytest.approx(0.5, abs=0.06)
    space = (rate, pieces, Choices("model", tuple(map(json.dumps, sorted(choices)))))
    for one in space:
        value = spread(space, seed, number)[one.key]
        kind = one.distribution()
        assert kind._contains(kind.to_internal_repr(value))
        assert one.value(one.setting(value)) == value


def test_eight_points_are_in_each_eighth_of_every_range():
    space = tuple(Numbers(key, 0.0, 1.0) for key in "abc")
    for block in range(3):
        points = [spread(space, 3, 8 * block + number) for number in range(8)]
        for key in "abc":
            assert sorted(int(8 * float(point[key])) for point in points) == list(range(8))


def test_a_journal_keeps_whole_lines_after_a_half_one(tmp_path):
    before = searched(study(tmp_path), 2)
    with (tmp_path / "j.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    again = study(tmp_path)
    assert again.told() == before
    assert len(searched(again, 3)) == 3
    for line in (tmp_path / "j.journal").read_text().splitlines():
        json.loads(line)
