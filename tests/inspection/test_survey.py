"""Records: every file is opened once and then never again; what is said of it does not depend on how it was seen."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrial.data import _parallel
from segtrial.data.glance import mask_glance
from segtrial.data.masks import Encoding
from segtrial.data.memory import remembering
from segtrial.data.sample import Item
from segtrial.errors import MaskError
from segtrial.inspection import inspect
from segtrial.inspection.records import Looker
from segtrial.inspection.survey import survey
from tests.data.drawn import labels, scene
from tests.data.test_glance import COLORS, MASKS, saved

SIZE = (40, 48)


def pairs(count: int = 12) -> dict:
    """Pictures and masks in two parts, one picture of train in val again, and one faulty file of each kind."""
    files = {f"{'val' if n % 3 else 'train'}/images/{n:03}.png": scene(n, SIZE) for n in range(count)}
    files["val/images/again.png"] = scene(0, SIZE)
    files |= {name.replace("images", "masks"): labels([0, 1, 2, 255], SIZE) for name in files}
    return files | {"val/images/001.png": b"no picture", "train/masks/003.png": labels([0, 1], (9, 9))}


@pytest.fixture
def openings(monkeypatch) -> list[str]:
    """Names of the pictures that are opened to be decoded."""
    seen: list[str] = []
    real = os.open

    def counting(path, *flags, **how):
        if Path(path).suffix == ".png":
            seen.append("/".join(Path(path).parts[-3:]))
        return real(path, *flags, **how)

    monkeypatch.setattr(os, "open", counting)
    return seen


@pytest.mark.parametrize("table", ["", "0 0 0 sky\n1 1 1 road\n2 2 2 tree\n255 255 255 void\n"])
def test_each_file_is_opened_once_then_never_and_again_when_it_changed(make, cache, openings, table):
    files = {name: content for name, content in pairs().items() if name.endswith(("000.png", "002.png", "004.png"))}
    files |= {"val/images/x.png": scene(9, SIZE), "val/masks/x.png": labels([0, 1, 2, 255], SIZE)}
    root = make(files | ({"label_colors.txt": table} if table else {}))
    first = inspect(root, cache=cache)
    assert not first.failed
    assert sorted(openings) == sorted(files)
    openings.clear()
    assert inspect(root, cache=cache) == first
    assert openings == []
    Image.fromarray(scene(99, SIZE)).save(root / "val/images/004.png")
    Image.fromarray(labels([0, 1], SIZE)).save(root / "val/masks/002.png")
    again = inspect(root, cache=cache)
    assert sorted(openings) == ["val/images/004.png", "val/masks/002.png"]
    assert again.to_json() == inspect(root, cache=cache.with_name("other")).to_json()
    assert again.to_json() != first.to_json()


def test_two_processes_find_what_one_finds(make, tmp_path, monkeypatch):
    monkeypatch.setattr(_parallel, "FEWEST", 2)
    monkeypatch.setattr(_parallel, "CHUNK", 3)
    root = make(pairs())
    one, two = (inspect(root, cache=tmp_path / str(count), processes=count) for count in (1, 2))
    assert {"image.format", "duplicate.across", "mask.size"} <= {finding.code for finding in one.findings}
    assert (two.records, two.findings, two.to_json()) == (one.records, one.findings, one.to_json())
    files = [next((tmp_path / str(count) / "inspect").iterdir()).read_bytes() for count in (1, 2)]
    assert files[0] == files[1]
    assert inspect(root, cache=tmp_path / "2").records == one.records


def test_half_a_cache_and_none_say_the_same(make, cache):
    root = make(pairs())
    expected = inspect(root, cache=cache).to_json()
    [file] = (cache / "inspect").iterdir()
    whole = file.read_bytes()
    for end in (0, 10, len(whole) // 3, len(whole) - 2):
        file.write_bytes(whole[:end])
        assert inspect(root, cache=cache).to_json() == expected
        assert file.read_bytes().count(b"\n") == whole.count(b"\n")


ENCODINGS = {
    "values": Encoding({0: 0, 1: 1, 2: 2, 3: 1, 4: 0, 9: 2, 200: 0, 255: 255}),
    "colours": Encoding(None, {tuple(color): index for index, color in enumerate(COLORS.tolist())}, 30.0),
    "near colours": Encoding(None, {(0, 0, 0): 0, (255, 255, 255): 1, (6, 6, 6): 2}, 442.0),
    "nothing": None,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_means_the_same_by_a_glance_and_by_a_look(tmp_path, name, encoding):
    """What was seen when the data were opened is enough, or is known not to be."""
    saved(MASKS[name][0], tmp_path)
    looker, item = Looker(None, ENCODINGS[encoding], 3), Item("mask", "mask", None, tmp_path / "mask.png")
    by_glance = looker.told_by(item, mask_glance(tmp_path / "mask.png"))
    unread = name == "colours" and encoding == "values"
    if unread:
        with pytest.raises(MaskError, match="it has colours"):
            looker(item)
    unseen = unread or (encoding.endswith("colours") and name in ("deep", "off the palette"))
    assert by_glance == (None if unseen else looker(item))


@pytest.mark.parametrize("encoding", [None, ENCODINGS["near colours"]])
def test_a_mask_of_many_colours_is_remembered_too(make, cache, openings, encoding):
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    root = make({"masks/a.png": noise})
    items = {"": (Item("a", "a", None, root / "masks/a.png"),)}
    records = []
    for _ in range(2):
        with remembering(cache / "memory.jsonl"):
            records += survey(items, Looker(None, encoding, 3))
    assert records[0] == records[1]
    assert records[0].mask is not None
    assert records[0].mask.distinct == len(np.unique(noise.reshape(-1, 3), axis=0))
    assert sum(records[0].counts) == (0 if encoding is None else SIZE[0] * SIZE[1])
    assert len(openings) == 3  # a glance, and a look at its header and its pixels
