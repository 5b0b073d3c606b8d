"""Verdicts in sentences: each names what it speaks of."""

import pytest

from segtrial.comparison import words
from segtrial.comparison.manifest import Manifest, Variant
from segtrial.comparison.result import notes

NOTHING = {"verdict": "cannot tell", "reason": "only 2 blocks (a, b)", "interval": None}
IMAGES, SCENES = "for these images and new training runs", "for new scenes"


def answer(verdict: str, low: float, reason: str = "") -> dict:
    return {"verdict": verdict, "reason": reason, "interval": {"low": low, "high": 0.05, "over": "seeds"}}


def said(images: dict | None, scenes: dict | None) -> str:
    pair = {"a": "plain", "b": "bn", "n_seeds": 5, "difference": 0.0301, "reason": "no luck"}
    return words.verdict(pair | {"these_images": images, "new_scenes": scenes}, "miou_dataset", 0.02)


FOUND = {
    "better": f"bn is better than plain {IMAGES} (95 % interval +0.010 to +0.050).",
    "worse": f"bn is worse than plain {IMAGES} (95 % interval",
    "equivalent": f"bn and plain differ by less than 0.02 {IMAGES} (95 % interval",
    "cannot tell": f"Nobody can tell yet whether bn or plain is better {IMAGES} (95 % interval",
}


@pytest.mark.parametrize("verdict", FOUND)
def test_a_verdict_is_a_sentence_that_names_what_it_speaks_of(verdict):
    told = said(answer(verdict, 0.01), NOTHING)
    assert told.startswith(FOUND[verdict])
    assert "Of new scenes nothing can be said: only 2 blocks (a, b)." in told
    assert told.endswith("(bn - plain in miou_dataset: +0.030, 5 seeds.)")


def test_two_populations_of_one_mind_share_a_sentence():
    told = said(answer("better", 0.01), answer("better", 0.005))
    assert f"{IMAGES} (95 % interval +0.010 to +0.050), and {SCENES} (95 % interval +0.005 to +0.050). (bn" in told


def test_two_populations_of_two_minds_have_one_each():
    told = said(answer("better", 0.01), answer("cannot tell", -0.01, "about 9 seeds would tell"))
    assert told.startswith(FOUND["better"])
    assert f"whether bn or plain is better {SCENES} (95 % interval -0.010 to +0.050): about 9 seeds would tell." in told


def test_without_runs_nothing_is_said():
    assert said(None, None) == "Nothing can be said of bn against plain: no luck."


@pytest.mark.parametrize(("seconds", "short"), [(75, "75 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_are_short(seconds, short):
    assert words.duration(seconds) == short


@pytest.mark.parametrize(
    ("pixels", "note"), [(1020, ""), (1600, "In its training b looks at 1.6 times the pixels of a.")]
)
def test_a_note_tells_of_unequal_pixels_but_not_of_what_crops_leave_over(pixels, note):
    variants = {
        name: Variant.model_construct(recipe={"model": name}, pixels=count)
        for name, count in (("a", 1000), ("b", pixels))
    }
    assert notes(Manifest.model_construct(grown=(), folds=None, variants=variants)) == ([note] if note else [])
