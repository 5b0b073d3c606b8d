"""Numbers become words by rules that can be said in one line."""

import pytest

from segtrial.reports import wording


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.1234, "12.3 %"), (0.0004, "< 0.1 %"), (0, "0 %"), (0.0, "0 %"), (1.0, "100.0 %"), (None, "–")],
)
def test_only_nothing_reads_zero_percent(share, words):
    assert wording.percent(share) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "0.2 s"), (59.6, "1 min 0 s"), (75.2, "1 min 15 s"), (7260, "2 h 1 min"), (None, "–")]
)
def test_durations_have_two_units_at_most(seconds, words):
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(7, "7"), (712345, "712 k"), (1_234_567, "1.23 M"), (3e10, "30 G"), (1.45e12, "1.45 T")]
)
def test_short_counts_have_three_digits(number, words):
    assert wording.short_count(number) == words


def test_undefined_scores_are_a_dash_and_not_zero():
    assert (wording.score(None), wording.score(0), wording.score(0.6126)) == ("–", "0.000", "0.613")


def test_names_cannot_steer_a_terminal():
    assert wording.plain("car\x1b[2J\nroad") == "car\ufffd[2J\ufffdroad"
