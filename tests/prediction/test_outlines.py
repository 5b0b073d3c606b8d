"""Outlines against the label map that they come from: filled they are the map, counted they are scipy's areas."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from segtrial.classes import Classes
from segtrial.errors import DataError
from segtrial.prediction.outlines import Area, Outlines
from segtrial.prediction.polygons import coco_lines, run_lengths, write_geojson
from segtrial.shapes import IGNORE

CLASSES = Classes(("=sky", "road", "pöle"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
MAPS = arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 2, IGNORE]))


def areas_of(labels: np.ndarray, *cuts: int) -> list[Area]:
    """The areas of a map that comes in strips, cut before these rows."""
    outlines = Outlines(labels.shape[1])
    for strip in np.split(labels, cuts):
        if len(strip):
            outlines.add(strip)
    return list(outlines.areas())


def filled(rings: tuple[np.ndarray, ...], size: tuple[int, int]) -> np.ndarray:
    """Even-odd: a ray from each pixel's centre to the left, and the vertical edges that it crosses."""
    inside = np.zeros(size, bool)
    for ring in rings:
        for (x, top), (other, bottom) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
            if x == other:
                inside[min(top, bottom) : max(top, bottom), x:] ^= True
    return inside


@settings(deadline=None, max_examples=150)
@given(MAPS, st.data())
def test_filled_outlines_are_the_map_whatever_strips_it_comes_in(labels, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(labels)), max_size=3)))
    areas = areas_of(labels, *cuts)
    again = np.full(labels.shape, IGNORE, np.uint8)
    for area in areas:
        there = filled(area.rings, labels.shape)
        assert there.sum() == area.pixels
        assert (again[there] == IGNORE).all()  # no two areas overlap
        again[there] = area.label
    np.testing.assert_array_equal(again, labels)


@settings(deadline=None, max_examples=150)
@given(MAPS)
def test_areas_are_what_shares_an_edge(labels):
    areas = areas_of(labels)
    for label in range(3):
        marked, count = ndimage.label(labels == label)
        mine = [area for area in areas if area.label == label]
        assert len(mine) == count
        assert sorted(area.pixels for area in mine) == sorted(np.bincount(marked.ravel())[1:].tolist())


@settings(deadline=None, max_examples=150)
@given(MAPS)
def test_rings_are_simple_and_turn_as_they_should(labels):
    for area in areas_of(labels):
        for number, ring in enumerate(area.rings):
            x, y = ring.T
            doubled = int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
            assert (doubled > 0) == (number == 0)  # one outer ring, and then holes
            assert len(np.unique(ring, axis=0)) == len(ring)  # none touches itself
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all()  # along the pixels' edges
            assert ((steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)).all()  # every corner is one


def test_a_ring_around_a_hole_by_hand():
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    hole, ring = areas_of(labels)
    assert (hole.label, hole.pixels, [one.tolist() for one in hole.rings]) == (
        0,
        1,
        [[[1, 1], [2, 1], [2, 2], [1, 2]]],
    )
    assert (ring.label, ring.pixels) == (1, 8)
    assert ring.rings[0].tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert ring.rings[1].tolist() == [[1, 1], [1, 2], [2, 2], [2, 1]]  # the other way round


def test_squares_that_touch_at_a_corner_are_two():
    assert [area.pixels for area in areas_of(np.array([[1, IGNORE], [IGNORE, 1]], np.uint8))] == [1, 1]


@settings(deadline=None, max_examples=100)
@given(MAPS)
def test_run_lengths_are_the_columns_of_the_map(labels):
    for area in areas_of(labels):
        counts = run_lengths(area.rings, labels.shape)
        assert sum(counts) == labels.size
        assert counts[-1] > 0
        assert all(count > 0 for count in counts[1:])
        values = np.repeat(np.arange(len(counts)) % 2, counts).reshape(labels.shape[::-1]).T.astype(bool)
        np.testing.assert_array_equal(values, filled(area.rings, labels.shape))


def test_geojson_and_coco_say_the_same(tmp_path):
    labels = np.full((6, 7), 1, np.uint8)
    labels[1:4, 2:5] = 2
    labels[2, 3] = IGNORE
    held = io.BytesIO()
    write_geojson(held, areas_of(labels), CLASSES)
    (tmp_path / "a.geojson").write_bytes(held.getvalue())
    features = json.loads(held.getvalue())["features"]
    assert [one["properties"] for one in features] == [
        {"class": "road", "index": 1, "pixels": 33},
        {"class": "pöle", "index": 2, "pixels": 8},
    ]
    assert all(one["type"] == "Feature" and one["geometry"]["type"] == "Polygon" for one in features)
    outer, hole = features[1]["geometry"]["coordinates"]
    assert outer == [[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]
    assert hole[0] == hole[-1] == [3, 2]
    image = {"file_name": "a.png", "height": 6, "width": 7}
    coco = json.loads("".join(coco_lines([image], [tmp_path / "a.geojson"], CLASSES)))
    assert coco["images"] == [{"id": 1, **image}]
    assert coco["categories"] == [{"id": 1, "name": "=sky"}, {"id": 2, "name": "road"}, {"id": 3, "name": "pöle"}]
    assert [one["category_id"] for one in coco["annotations"]] == [2, 3]
    assert [one["id"] for one in coco["annotations"]] == [1, 2]
    assert coco["annotations"][1]["bbox"] == [2, 1, 3, 3]
    assert coco["annotations"][1]["area"] == 8
    assert coco["annotations"][1]["segmentation"] == {"size": [6, 7], "counts": [13, 3, 3, 1, 1, 1, 3, 3, 14]}


def test_an_area_without_holes_is_a_polygon_in_coco(tmp_path):
    held = io.BytesIO()
    write_geojson(held, areas_of(np.zeros((2, 3), np.uint8)), CLASSES)
    (tmp_path / "a.geojson").write_bytes(held.getvalue())
    coco = json.loads("".join(coco_lines([{"height": 2, "width": 3}], [tmp_path / "a.geojson"], CLASSES)))
    assert coco["annotations"][0]["segmentation"] == [[0, 0, 3, 0, 3, 2, 0, 2]]


def test_no_area_is_no_feature():
    held = io.BytesIO()
    write_geojson(held, areas_of(np.full((2, 2), IGNORE, np.uint8)), CLASSES)
    assert json.loads(held.getvalue()) == {"type": "FeatureCollection", "features": []}


def test_a_geojson_that_is_gone_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.geojson: changed while it was read .*Predict again"):
        list(coco_lines([{"height": 2, "width": 3}], [tmp_path / "a.geojson"], CLASSES))
