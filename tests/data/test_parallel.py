"""Workers: processes give what threads give, in order, errors as they were; one that dies costs nothing but time."""

import multiprocessing
import os
import pickle

import pytest

from segtrial.data import _parallel
from segtrial.data._parallel import Workers, all_of, each
from segtrial.errors import DataError, MaskError, UnknownName

LEFT = 40


def square(number: int) -> int:
    """Of a number that is not 13."""
    if number == 13:
        raise MaskError("x.png", f"it is {number}", "Take another")
    return number * number


def process(number: int) -> int:
    return os.getpid() + 0 * number


def square_unless_a_child_dies(number: int) -> int:
    if multiprocessing.parent_process() is not None and number >= LEFT:
        os._exit(1)
    return square(number)


@pytest.fixture
def few(monkeypatch):
    """Processes are used for a handful of sources."""
    monkeypatch.setattr(_parallel, "FEWEST", 2)
    monkeypatch.setattr(_parallel, "CHUNK", 8)


@pytest.fixture
def two(few):
    workers = Workers(2)
    yield workers
    workers.close()


def told(results) -> list:
    return [(type(one), str(one), vars(one)) if isinstance(one, DataError) else one for one in results]


def test_two_processes_give_what_a_loop_gives(two):
    expected = [n * n for n in range(100)]
    results = told(two.each(square, range(100)))
    assert results[13] == (
        MaskError,
        "x.png: it is 13. Take another",
        vars(MaskError("x.png", "it is 13", "Take another")),
    )
    assert results[:13] + results[14:] == expected[:13] + expected[14:]
    assert results == told(each(square, range(100))) == told(Workers(1).each(square, range(100)))
    assert os.getpid() not in set(two.each(process, range(100)))  # and they serve a second time


def test_few_sources_start_no_process():
    assert set(Workers(2).each(process, range(100))) == {os.getpid()}


def test_what_a_dying_process_was_to_do_is_done_here(two):
    assert told(two.each(square_unless_a_child_dies, range(100))) == told(each(square, range(100)))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("cores", [1, 3])
def test_little_is_computed_ahead_of_who_reads(monkeypatch, cores):
    monkeypatch.setattr(_parallel, "cores", lambda: cores)
    done: list[int] = []
    results = each(done.append, range(1000))
    next(results)
    del results
    assert len(done) <= _parallel.AHEAD * cores + 1


def test_all_errors_are_one(two):
    with pytest.raises(MaskError, match=r"set: 2 of 3 files are at fault:\n  x.png: it is 13\n  x.png: it is 13"):
        all_of("set", square, [13, 1, 13])


def test_an_error_survives_a_process():
    error = MaskError("set", "2 files", "Mend them")
    error.parts, error.files = (MaskError("a", "b", "c"),), ("a",)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (MaskError, "set: 2 files. Mend them")
    assert (again.place, again.found, again.fix, again.files) == ("set", "2 files", "Mend them", ("a",))
    assert [str(one) for one in again.parts] == ["a: b. c"]
    unknown = UnknownName("model", "x", ["y"])
    assert str(pickle.loads(pickle.dumps(unknown))) == str(unknown)
