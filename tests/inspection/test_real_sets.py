"""The sets of the real world: each is understood, and the traps known to be in it are found by name."""

import pytest

from segtrial.inspection import inspect

FOUND = {  # name -> layout, classes, parts, the findings that must be there beside what the reader says
    "camvid": ("camvid", 11, {"train": 367, "val": 101}, {"leak.official", "part.groups", "leak.random"}),
    "camseq01": (
        "folder",
        31,
        {"train": 70, "val": 20, "left out": 10},
        {"part.one_clip", "class.absent", "leak.random"},
    ),
    "celebamask19_256": ("folder", 19, {"train": 800, "val": 200}, {"class.unnamed", "class.imbalance"}),
    "fasseg_v2": ("unknown", 6, {"train": 20, "test": 50}, {"mask.colors", "mask.near_palette", "image.sizes"}),
    "chasedb1": ("folder", 2, {"train": 24, "val": 4}, {"pair.annotators", "part.groups"}),
    "fruit_coco": ("coco", 4, {"train": 15, "val": 3}, {"part.few", "image.chroma"}),
    "scenes64": ("classes", 6, {"train": 1800, "val": 300}, {"duplicate.inside"}),
    "cifar10": ("npz", 10, {"train": 40000, "val": 10000, "test": 10000}, {"image.chroma"}),
}
ERRORS = {"fasseg_v2": {"mask.colors"}, "chasedb1": {"pair.annotators"}}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_its_traps_are_found_and_nothing_is_called_an_error_that_is_none(real, name, own_cache):
    layout, classes, parts, codes = FOUND[name]
    found = inspect(real(name))
    assert (found.layout, len(found.shares), dict(found.parts)) == (layout, classes, parts)
    assert codes <= {one.code for one in found.findings}
    assert {one.code for one in found.findings if one.severity == "error"} == ERRORS.get(name, set())


@pytest.mark.slow
def test_the_share_of_colours_beside_the_palette_is_measured(real, own_cache):
    """2.3 % of FASSEG's pixels, 865 to 2214 colours a file (counted by another program)."""
    [near] = [one for one in inspect(real("fasseg_v2")).findings if one.code == "mask.near_palette"]
    assert near.message.startswith("2.3 % of the pixels of 70 masks")
    assert "2214 colours" in near.message
