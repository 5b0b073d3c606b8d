"""The areas of a label map -> a GeoJSON file for each image, and one COCO file of annotations for all of them.

    OUT/rel/stem.geojson    RFC 7946: a Feature for each area, a Polygon with its holes; pixels, not degrees
    OUT/annotations.json    COCO: an annotation for each area; one without holes is a polygon, one with holes is
                            written as run lengths (uncompressed RLE), for COCO's polygons know no holes

Corners are those of `outlines`. GeoJSON wants outer rings anticlockwise with y upwards: as numbers they are.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from segtrial.classes import Classes
from segtrial.errors import DataError
from segtrial.prediction.outlines import Area

FEATURES = '{"type": "FeatureCollection", "features": ['


def write_geojson(file: BufferedIOBase, areas: Iterable[Area], classes: Classes) -> None:
    """One line for each area, so that as many as there are need no memory."""
    file.write(FEATURES.encode())
    for number, area in enumerate(areas):
        file.write(f"{',' * (number > 0)}\n{json.dumps(_feature(area, classes), ensure_ascii=False)}".encode())
    file.write(b"\n]}\n")


def _feature(area: Area, classes: Classes) -> dict[str, Any]:
    rings = [[*ring.tolist(), ring[0].tolist()] for ring in area.rings]  # the last corner is the first again
    properties = {"class": classes.names[area.label], "index": area.label, "pixels": area.pixels}
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": rings}}


def coco_lines(images: Sequence[Mapping[str, Any]], geojson: Sequence[Path], classes: Classes) -> Iterator[str]:
    """The COCO file of `images` (file_name, height, width), whose areas are in `geojson`, piece by piece.

    Ids count from 1; a category's is the class's index and one more. Raises DataError for a file that is gone.
    """
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes.names)]
    listed = [{"id": number, **image} for number, image in enumerate(images, 1)]
    yield json.dumps({"info": {"description": "segtrial predict"}, "categories": categories, "images": listed})[:-1]
    yield ', "annotations": ['
    number = 0
    for image, path in zip(listed, geojson, strict=True):
        for feature in _features(path):
            number += 1
            annotation = {"id": number, "image_id": image["id"], **_annotation(feature, image)}
            yield f"{',' * (number > 1)}\n{json.dumps(annotation)}"
    yield "\n]}\n"


def _features(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text("utf-8"))["features"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(path, f"changed while it was read ({error})", "Predict again") from error


def _annotation(feature: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    rings = [np.array(ring[:-1], np.int64) for ring in feature["geometry"]["coordinates"]]
    low, high = rings[0].min(axis=0).tolist(), rings[0].max(axis=0).tolist()
    size = (image["height"], image["width"])
    one = len(rings) == 1
    return {
        "category_id": feature["properties"]["index"] + 1,
        "segmentation": [rings[0].flatten().tolist()]
        if one
        else {"size": list(size), "counts": run_lengths(rings, size)},
        "bbox": [*low, high[0] - low[0], high[1] - low[1]],
        "area": feature["properties"]["pixels"],
        "iscrowd": 0,
    }


def run_lengths(rings: Sequence[Int64[np.ndarray, "_ 2"]], size: tuple[int, int]) -> list[int]:
    """Lengths of the runs outside, inside, outside, ..., down each column and from column to column, as COCO counts.

    A pixel is inside if, above it in its column, an odd number of horizontal edges is crossed.
    """
    height, width = size
    starts, ends = np.concatenate(rings), np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    flat = starts[:, 1] == ends[:, 1]
    first, last = np.minimum(starts, ends)[flat, 0], np.maximum(starts, ends)[flat, 0]
    row, length = starts[flat, 1], last - first
    column = np.repeat(first, length) + np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    places = np.sort(column * height + np.repeat(row, length))
    pairs, times = np.unique(places, return_counts=True)  # the foot of one column is the head of the next
    bounds = np.concatenate([[0], pairs[times % 2 == 1], [height * width]])
    lengths = np.diff(bounds).tolist()
    return lengths if lengths[-1] else lengths[:-1]
