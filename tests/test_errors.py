"""Messages have a place, a finding and a fix; lists stay short; the nearest name is offered."""

import inspect
from pathlib import Path

import pytest

from segtrial import errors
from segtrial.errors import Interrupted, Refused, SegtrialError, UnknownName, UserError, listing, nearest, several

PLAIN = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, UserError) and kind not in (UnknownName, Refused)
]


@pytest.mark.parametrize("kind", PLAIN)
def test_a_message_reads_place_finding_fix(kind):
    error = kind(Path("data") / "a.png", "empty file", "Restore it")
    assert str(error) == f"{Path('data') / 'a.png'}: empty file. Restore it"
    assert (error.place, error.found, error.fix) == (str(Path("data") / "a.png"), "empty file", "Restore it")


def test_an_unknown_name_offers_the_nearest_and_lists_all():
    error = UnknownName("model", "unnet", ["unet", "fcn"])
    assert str(error) == ("model 'unnet': no model has this name. Did you mean 'unet'? There are: fcn, unet")
    assert str(UnknownName("model", "zzz", ["unet"])) == "model 'zzz': no model has this name. There are: unet"


def test_a_refused_request_has_its_status_too():
    error = Refused(429, "queue", "full", "Wait", retry=2)
    assert (str(error), error.status, error.retry) == ("queue: full. Wait", 429, 2)


def test_interrupted_is_nobodys_fault():
    error = Interrupted(15)
    assert error.signal == 15
    assert isinstance(error, SegtrialError)
    assert not isinstance(error, UserError)


@pytest.mark.parametrize(("name", "expected"), [("miuo", "Did you mean 'miou'? "), ("xyz", ""), ("", "")])
def test_only_close_names_are_offered(name, expected):
    assert nearest(name, ["miou", "dice"]) == expected


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(0, 2, ""), (1, 2, "0"), (2, 2, "0, 1"), (3, 2, "0, 1 and 1 more"), (100, 2, "0, 1 and 98 more")],
)
def test_long_lists_are_cut_and_counted(count, most, expected):
    assert listing(range(count), most) == expected


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("mask",), "0 masks"),
        (1, ("mask",), "1 mask"),
        (2, ("mask",), "2 masks"),
        (1, ("class has", "classes have"), "1 class has"),
        (3, ("class has", "classes have"), "3 classes have"),
    ],
)
def test_words_fit_their_number(number, words, expected):
    assert several(number, *words) == expected
