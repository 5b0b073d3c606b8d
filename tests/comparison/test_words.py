"""Verdicts in sentences: each names what it speaks of."""

import pytest

from segtrial.comparison import words

INTERVAL = {"low": 0.0101, "high": 0.05, "over": "seeds"}
NOTHING = {"verdict": "cannot tell", "reason": "only 2 blocks (a, b)", "interval": None}


def answer(verdict: str, reason: str = "") -> dict:
    return {"verdict": verdict, "reason": reason, "interval": INTERVAL}


def pair(images: dict | None, scenes: dict | None) -> dict:
    answers = {"these_images": images, "new_scenes": scenes}
    return {"a": "plain", "b": "bn", "n_seeds": 5, "difference": 0.0301, "reason": "no luck", **answers}


SAID = {
    "better": "bn is better than plain for these images and new training runs (95 % interval +0.010 to +0.050).",
    "worse": "bn is worse than plain for these images and new training runs",
    "equivalent": "bn and plain are equivalent for these images and new training runs, since they differ by less than",
    "cannot tell": "Cannot tell whether bn or plain is better for these images and new training runs",
}


@pytest.mark.parametrize("verdict", SAID)
def test_a_verdict_is_a_sentence_that_names_what_it_speaks_of(verdict):
    said = words.verdict(pair(answer(verdict), NOTHING), "miou_dataset", 0.02)
    assert said.startswith(SAID[verdict])
    assert (
        "Cannot tell whether bn or plain is better for new scenes and new training runs: only 2 blocks (a, b)." in said
    )
    assert said.endswith("(bn - plain in miou_dataset: +0.030, 5 seeds.)")


def test_both_populations_have_their_say():
    said = words.verdict(
        pair(answer("better"), answer("cannot tell", "about 9 seeds would tell")), "miou_dataset", 0.02
    )
    assert "bn is better than plain for these images" in said
    assert (
        "better for new scenes and new training runs (95 % interval +0.010 to +0.050): about 9 seeds would tell."
        in said
    )


def test_without_runs_nothing_is_said():
    assert words.verdict(pair(None, None), "psnr", 0) == "Nothing can be said of bn against plain: no luck."


@pytest.mark.parametrize(("seconds", "said"), [(75, "75 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_are_short(seconds, said):
    assert words.duration(seconds) == said
