"""The store: what is read from it equals what was decoded, whatever is changed, killed, damaged or raced."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.data.cache import default_cache, open_store
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.errors import DataError, MaskError, UnknownName
from tests.data.drawn import labels, photo


@pytest.fixture
def root(make) -> Path:
    sizes = {f"{n}": (8 + n, 12) for n in range(6)}
    files = {f"images/{n}.png": photo(int(n), size) for n, size in sizes.items()}
    return make(files | {f"masks/{n}.png": labels([0, 1, 2], size) for n, size in sizes.items()})


def test_the_store_holds_what_the_reader_reads(root, cache):
    data = open_dataset(root)
    seen = []
    store = open_store(data, "train", cache=cache, progress=lambda done, total: seen.append((done, total)))
    assert (len(store), store.channels, store.notes) == (5, 3, ())
    assert seen == [(n, 5) for n in range(1, 6)]
    for item, sample, size in zip(data.parts["train"], store, store.sizes, strict=True):
        fresh = data.read(item)
        np.testing.assert_array_equal(sample.image, fresh.image)
        np.testing.assert_array_equal(sample.target, fresh.target)
        assert (sample.key, sample.group, sample.target.shape) == (fresh.key, fresh.group, size)
    np.testing.assert_array_equal(store[-1].image, store[4].image)
    with pytest.raises(IndexError):
        store[5]


def test_the_second_opening_decodes_nothing(root, cache):
    data = open_dataset(root)
    first = open_store(data, "val", cache=cache)
    shutil.rmtree(root / "masks" / "nothing", ignore_errors=True)
    calls = []
    again = open_store(data, "val", cache=cache, progress=lambda done, total: calls.append(done))
    assert calls == []
    assert again == first


def test_a_store_can_be_pickled_and_written_into_without_harm(root, cache):
    store = open_store(open_dataset(root), "train", cache=cache)
    store[0].image[:] = 0
    fresh = pickle.loads(pickle.dumps(store))
    assert fresh[0].image.any()
    assert fresh.manifest == store.manifest


def test_a_changed_file_is_decoded_again(root, cache, make):
    before = open_store(open_dataset(root), "train", cache=cache)
    item = open_dataset(root).parts["train"][0]
    make({f"{item.key}.png": photo(99, before.sizes[0])})
    os.utime(item.image, ns=(1, 1))  # even where the clock is too coarse to tell
    after = open_store(open_dataset(root), "train", cache=cache)
    assert after.manifest != before.manifest
    np.testing.assert_array_equal(after[0].image, photo(99, before.sizes[0]).transpose(2, 0, 1))


def test_the_manifest_is_of_the_contents_not_of_the_place(root, cache, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    stores = [open_store(open_dataset(folder), "train", cache=cache) for folder in (root, tmp_path / "copy")]
    assert stores[0].manifest == stores[1].manifest
    (tmp_path / "copy" / "classes.txt").write_text("one\ntwo\nthree\n")
    assert open_store(open_dataset(tmp_path / "copy"), "train", cache=cache).manifest != stores[0].manifest


@pytest.mark.parametrize("damage", ["short", "gone", "garbage", "empty"])
def test_a_damaged_entry_is_built_again(root, cache, damage):
    data = open_dataset(root)
    store = open_store(data, "train", cache=cache)
    images, index = store.folder / "images.bin", store.folder / "index.json"
    if damage == "short":
        os.truncate(images, 100)
    elif damage == "gone":
        images.unlink()
    else:
        index.write_text("{]" if damage == "garbage" else "")
    again = open_store(data, "train", cache=cache)
    np.testing.assert_array_equal(again[0].image, data.read(data.parts["train"][0]).image)


def test_every_faulty_file_is_listed_and_nothing_is_left(root, cache):
    data = open_dataset(root)
    for item in data.parts["train"][:2]:
        item.image.write_bytes(item.image.read_bytes()[:60])
    with pytest.raises(DataError, match=r"(?s)2 of 5 files are at fault:.*0\.png.*truncated.*1\.png.*truncated"):
        open_store(data, "train", cache=cache)
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_parts_that_are_not_there(root, cache):
    with pytest.raises(UnknownName, match=r"part 'vall'.*Did you mean 'val'"):
        open_store(open_dataset(root), "vall", cache=cache)


def test_an_unwritable_cache_is_replaced_by_a_temporary_one(root, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = open_store(open_dataset(root), "val", cache=tmp_path / "file" / "cache")
    assert len(store) == 1
    assert "cannot be written: a temporary one is used" in store.notes[0]


def test_the_place_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SEGTRIAL_CACHE", raising=False)
    assert default_cache() == tmp_path / "segtrial"
    monkeypatch.setenv("SEGTRIAL_CACHE", "/elsewhere")
    assert default_cache() == Path("/elsewhere")


def test_float_images_keep_their_values(root, cache):
    data = open_dataset(root)
    item = Item("a", "a")
    image = np.random.default_rng(0).random((2, 3, 4), dtype=np.float32)
    made = Dataset(
        None, "made", data.classes, {"train": (item,)}, lambda item: Sample(image, labels([0], (3, 4)), "a", "a"), str
    )
    store = open_store(made, "train", cache=cache)
    assert (store.dtype, store.channels) == ("float32", 2)
    np.testing.assert_array_equal(store[0].image, image)


@pytest.mark.parametrize("failpoint", ["cache.sample:3", "cache.before_rename"])
def test_a_killed_build_leaves_nothing_that_is_believed(root, cache, failpoint, monkeypatch):
    monkeypatch.setenv("SEGTRIAL_FAILPOINT", failpoint)
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_open, args=(root, cache, context.Queue()))
    killed.start()
    killed.join()
    monkeypatch.delenv("SEGTRIAL_FAILPOINT")
    assert killed.exitcode == -signal.SIGKILL
    assert list(cache.glob(".*.partial"))
    store = open_store(open_dataset(root), "train", cache=cache)
    assert len(store) == 5
    assert not list(cache.glob(".*.partial"))


def _open(root: Path, cache: Path, results: "multiprocessing.Queue[str]") -> None:
    calls: list[int] = []
    store = open_store(open_dataset(root), "train", cache=cache, progress=lambda done, total: calls.append(done))
    results.put(json.dumps([store.manifest, bool(calls), int(store[0].image.sum())]))


def test_processes_that_ask_at_once_share_one_build(root, cache):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_open, args=(root, cache, results)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = [json.loads(results.get(timeout=60)) for _ in processes]
    for process in processes:
        process.join()
    assert len({(manifest, total) for manifest, _, total in answers}) == 1
    assert sum(built for _, built, _ in answers) == 1


def test_a_mask_that_does_not_fit_is_found_while_building(root, cache, make):
    data = open_dataset(root)
    make({"masks/1.png": labels([0, 1, 2], (12, 9))})
    with pytest.raises(MaskError, match=r"masks/1\.png: the mask is 12x9 but its image is 9x12.*transposed"):
        open_store(data, "train" if any(i.key == "images/1" for i in data.parts["train"]) else "val", cache=cache)
