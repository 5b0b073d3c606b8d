"""The images on which variants differ most are chosen by stored rows, and drawn under each of them."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segtrial import api
from segtrial.comparison import shown
from segtrial.comparison.shown import Ranked, choose
from tests.comparison import trial


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.1, 0.5, float("nan")])), min_size=1, max_size=20)
)
def test_the_furthest_apart_come_first_and_each_group_once_before_twice(drawn):
    groups, gaps = zip(*drawn, strict=True)
    keys = tuple(f"{number:02d}" for number in range(len(drawn)))
    found = choose(Ranked(keys, groups, {"one": np.zeros(len(gaps)), "other": -np.array(gaps)}))
    assert len(set(found)) == len(found) <= shown.MOST
    assert all(gaps[number] > 0 for number in found)
    known = {group for group, gap in drawn if gap > 0}
    assert {groups[number] for number in found} == known
    once = found[: len(known)]
    assert len({groups[number] for number in once}) == len(once)
    for part in (once, found[len(known) :]):
        assert [gaps[number] for number in part] == sorted((gaps[number] for number in part), reverse=True)


def test_pictures_and_scores_of_both_variants_are_there(finished):
    told = json.loads((finished / shown.INDEX).read_text())
    assert told["images"], "an untrained network differs from another one somewhere"
    for image in told["images"]:
        assert set(image["pictures"]) == {"image", "truth", "slow", "fast"}
        assert all((finished / "pictures" / name).exists() for name in image["pictures"].values())
        assert image["apart"] == abs(image["scores"]["slow"] - image["scores"]["fast"])


def test_the_page_comes_with_the_result(finished, cache):
    api.compare(trial.request(), finished, workers=1)  # it has ended: nothing is trained
    page = (finished / "comparison.html").read_text()
    assert "Where they differ most" in page
    assert "cannot tell" in page or "equivalent" in page or "better" in page
