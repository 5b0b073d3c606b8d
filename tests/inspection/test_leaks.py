"""Leaks: near neighbours in train are counted and named, and photographs that have nothing in common are none."""

from dataclasses import replace

import numpy as np
import pytest

from segtrial.classes import Classes
from segtrial.data.leakage import leak_report, leaks
from segtrial.data.likeness import look_at
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.errors import DataNotFound
from segtrial.inspection.leaks import between, check_against, check_leaks
from tests.data.drawn import photo, scene

WIDE = {name: scene(seed, (64, 180)) for seed, name in enumerate(("north", "south", "west"))}


def read(item: Item) -> Sample:
    """Frame n of a clip slides over its scene, one pixel a frame; `noise` and `photo` are pictures of their own."""
    name, number = item.key.rsplit("_", 1)
    if name == "noise":
        pixels = photo(int(number), (32, 32))
    elif name == "photo":
        pixels = scene(100 + int(number))
    else:
        pixels = WIDE[name.removeprefix("again/")][:, int(number) : int(number) + 96]
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return Sample(image, np.zeros(image.shape[1:], np.uint8), item.key, item.group)


def frames(name: str, numbers, group: str | None = None) -> list[Item]:
    return [Item(f"{name}_{n:03}", group or (name if name in WIDE else f"{name}_{n:03}")) for n in numbers]


def data_of(**parts) -> Dataset:
    return Dataset(None, "made", Classes(("a",), ((0, 0, 0),)), {k: tuple(v) for k, v in parts.items()}, read, str)


def looks_of(items):
    return look_at(items, read)


def findings_of(dataset: Dataset):
    looks = looks_of([item for items in dataset.parts.values() for item in items])
    return {one.code: one for one in check_leaks(dataset, looks)}


def every(name: str, step: int, start: int = 0):
    return frames(name, range(start, 80, step))


def test_each_neighbour_is_the_frame_next_to_it():
    train = [*every("north", 2), *every("south", 2)]
    report = leaks(looks_of(train), looks_of(every("north", 8, start=1)))
    assert report.share == 1
    assert (report.images, report.in_groups, report.groups) == (10, 10, ("north",))
    for one in report.neighbours:
        own, other = (int(item.key[-3:]) for item in (one.item, one.neighbour))
        assert abs(own - other) == 1
    away = [one.distance for one in report.neighbours]
    assert away == sorted(away)
    told = report.to_json()
    assert (told["images"], told["share"], len(told["near"])) == (10, 1.0, 10)
    assert report.sentence("test") == "10 of 10 test images have a near neighbour in train"


@pytest.mark.parametrize("kind", ["noise", "photo"])
def test_pictures_without_anything_in_common_have_no_near_neighbour(kind):
    report = leaks(looks_of(frames(kind, range(40))), looks_of(frames(kind, range(40, 80))))
    assert (report.near, report.share, report.in_groups) == ((), 0, 0)
    assert len(report.neighbours) == 40


def test_two_data_sets():
    """Every second frame of a clip in one, the others in the other: as when a clip is published twice."""
    first = data_of(train=frames("photo", range(20)), val=every("north", 2))
    other = data_of(train=[replace(item, key=f"again/{item.key}") for item in every("north", 2, start=1)])
    assert leak_report(first, other, ("val", "all")).share == 1
    assert leak_report(first, other, ("train", "all")).share == 0
    looks = [looks_of([item for items in data.parts.values() for item in items]) for data in (first, other)]
    part_of = {item.key: part for part, items in first.parts.items() for item in items}
    (one,) = check_against(looks[1], looks[0], "B", "A", part_of)
    assert (one.code, one.severity, one.count) == ("leak.against", "warning", 40)
    assert "40 of 40 B images have a near neighbour in A (100%; there in val 40): again/north_" in one.message
    assert check_against(looks_of(frames("photo", range(50, 60))), looks[0], "B", "A", part_of) == []


def test_a_part_that_is_not_there():
    data = data_of(train=frames("photo", range(3)))
    with pytest.raises(DataNotFound, match=r"no part is called 'val'.*There are: train, all"):
        leak_report(data, data)


def test_frames_of_a_clip_in_both_parts_are_a_leak_in_time():
    train = [item for n, item in enumerate(every("north", 1)) if n % 5]
    found = findings_of(data_of(train=[*train, *every("south", 4)], val=every("north", 5), test=every("west", 5)))
    one = found["leak.time"]
    assert (one.severity, one.count) == ("warning", 16)
    assert "16 of 16 val images (100%) have a near neighbour of the same clip or group in train" in one.message
    assert one.files[0].startswith("north_")
    assert "split.method=groups" in one.fix
    assert "leak.near" not in found


def test_whole_clips_do_not_leak_and_a_random_split_of_them_would():
    found = findings_of(data_of(train=[*every("north", 1), *every("south", 1)], val=every("west", 1)))
    assert set(found) == {"leak.random"}
    one = found["leak.random"]
    assert one.severity == "note"
    assert one.count > 40  # of a fifth of 240 frames, all but those whose neighbours are val too
    assert f"a random split would leak: {one.count} of 48 val images have a near neighbour in train" in one.message


def test_neighbours_of_other_groups_are_said_where_they_are_many():
    """Clips whose frames nobody has declared to be groups."""
    alone = [Item(item.key, item.key) for item in every("north", 1)]
    photos = frames("photo", range(40))
    found = findings_of(data_of(train=[*alone[::2], *photos], val=alone[1::2]))
    assert found["leak.near"].count == 40
    assert "`group` in data.yaml" in found["leak.near"].fix
    few = findings_of(data_of(train=[*alone[::2], *photos[:20]], val=[*alone[1:4:2], *photos[20:]]))
    assert few == {}


def test_photographs_are_no_finding():
    assert findings_of(data_of(train=frames("photo", range(20)), val=frames("photo", range(20, 30)))) == {}


def test_one_part_alone_has_its_numbers_and_its_findings():
    """Frames between those of train are near; another scene is not, whatever other parts hold."""
    dataset = data_of(train=every("north", 2), val=every("north", 8, start=1), test=every("west", 8))
    looks = looks_of([item for items in dataset.parts.values() for item in items])
    report, findings = between(dataset, "val", looks)
    assert (report.images, len(report.near), report.in_groups) == (10, 10, 10)
    assert {one.code for one in findings} == {"leak.group", "leak.time"}
    report, findings = between(dataset, "test", looks)
    assert (report.images, len(report.near), findings) == (10, 0, [])
