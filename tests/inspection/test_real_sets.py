"""The sets of the real world: each is understood, and the traps known to be in it are found by name."""

import pytest

from segtrial import cli
from segtrial.data import open_dataset
from segtrial.inspection import Inspection, inspect
from tests import tiny

UNDERSTOOD = {  # name -> layout, classes, parts
    "camvid": ("camvid", 11, {"train": 367, "val": 101}),
    "camseq01": ("folder", 31, {"train": 70, "val": 20, "left out": 10}),
    "fasseg_v2": ("unknown", 6, {"train": 20, "test": 50}),
    "celebamask19_256": ("folder", 19, {"train": 800, "val": 200}),
    "cifar10": ("npz", 10, {"train": 40000, "val": 10000, "test": 10000}),
    "scenes64": ("classes", 6, {"train": 1800, "val": 300}),
    "chasedb1": ("folder", 2, {"train": 24, "val": 4}),
    "fruit_coco": ("coco", 4, {"train": 15, "val": 3}),
}
TRAPS = {  # name -> what is known of it: the trap, the code of the finding, words of its message
    "camvid": (
        ("val is a clip of a sequence that train has", "leak.official", "one clip of 6.7 s out of 0016E5"),
        ("a sequence is what a name begins with", "part.groups", "0006R0"),
        ("11 is void", "layout.read", "class 11 is void (IGNORE)"),
    ),
    "camseq01": (
        ("it is one scene", "part.one_clip", "all images are one clip"),
        ("a random split leaks", "leak.random", "val images have a near neighbour in train (100%)"),
        ("23 of 32 classes occur, void among them", "class.absent", "9 of 31 declared classes are in no mask"),
    ),
    "fasseg_v2": (
        ("masks are colours", "mask.colors", "70 masks hold RGB colours"),
        ("2.3 % of the pixels are off the palette", "mask.near_palette", "2.3 % of the pixels of 70 masks"),
        ("865 to 2214 colours a file", "mask.near_palette", "2214 colours in one file"),
        ("widths differ", "image.sizes", "sizes (height x width): 512x"),
        ("six test photographs are in train too", "duplicate.across", "6 images are there again in another part"),
        ("with other masks", "duplicate.masks", "6 images are there again with another mask"),
    ),
    "celebamask19_256": (
        ("nobody says which classes are left and right", "class.unnamed", "are not exchanged when an image is flipped"),
        ("small parts are rare", "class.imbalance", "times the pixels of the rarest"),
    ),
    "cifar10": (("chroma is halved: no truth for colours", "image.chroma", "colours at half the resolution"),),
    "scenes64": (("some photographs are there twice", "duplicate.inside", "with the same pixels"),),
    "chasedb1": (
        ("two annotators", "pair.annotators", "with the suffixes _1stHO, _2ndHO"),
        ("both eyes of a patient are one group", "layout.read", "the two pictures of a subject are one group"),
    ),
    "fruit_coco": (("background is implied", "layout.read", "background"),),
}
ERRORS = {
    "fasseg_v2": {"mask.colors", "duplicate.across", "duplicate.masks"},
    "chasedb1": {"pair.annotators"},
}
"""All others have none."""

NAMES = pytest.mark.parametrize("name", UNDERSTOOD)


@pytest.mark.slow
@NAMES
def test_its_traps_are_found_and_nothing_is_called_an_error_that_is_none(real, name, own_cache):
    found = inspect(real(name))
    assert (found.layout, len(found.shares), dict(found.parts)) == UNDERSTOOD[name]
    missed = [trap for trap, code, words in TRAPS[name] if not says(found, code, words)]
    assert not missed, [(one.code, one.message) for one in found.findings]
    assert {one.code for one in found.findings if one.severity == "error"} == ERRORS.get(name, set())


def says(found: Inspection, code: str, words: str) -> bool:
    return any(one.code == code and words in one.message for one in found.findings)


@pytest.mark.slow
def test_camseq01_is_found_in_the_val_part_of_camvid(real, own_cache):
    found = inspect(real("camseq01"), against=real("camvid"))
    [one] = [one for one in found.findings if one.code == "leak.against"]
    assert (one.severity, one.count) == ("warning", 100)
    assert "100 of 100 camseq01 images have a near neighbour in camvid (100%; there in val 100)" in one.message


@pytest.mark.slow
def test_one_bit_masks_of_retinas(real, own_cache):
    assert {record.mask.mode for record in inspect(real("chasedb1")).records if record.mask} == {"1"}


@pytest.mark.slow
def test_faces_in_colours_train_once_they_are_described(real, own_cache, tmp_path):
    """No hand is laid on what `--write` writes."""
    data = tmp_path / "data.yaml"
    assert cli.main(["inspect", str(real("fasseg_v2")), "--write", str(data)]) == 2
    assert len(open_dataset(data).classes) == 6
    words = [*tiny.words(data, tmp_path / "run"), "--set", "crop_pixels=4096"]
    assert cli.main(words) == 0
    assert (tmp_path / "run/model.safetensors").is_file()
