"""A table of classes as JSON or YAML -> Table, in each of the forms that people write.

{"sky": [128, 128, 128], "road": "#804080"}                       name -> colour
{"0": "sky", "1": "road"}                                         value in the masks -> name
{"sky": 0, "road": 7}                                             name -> value in the masks
["sky", "road"]                                                   names of the classes 0, 1, ...
[{"name": "sky", "color": [128, 128, 128]}, {"name": "road", ...}]        also with `id` in place of `color`
{"classes": ...}                                                  any of these one level down
"""

import json
import re
from pathlib import Path
from typing import Any

from segtrial.classes import Color
from segtrial.data.tables import Table
from segtrial.errors import DataError, RecipeError, listing
from segtrial.plain_yaml import parse_yaml

NAMES = tuple(
    f"{name}.{ending}"
    for name in ("label_colors", "class_colors", "class_dict", "classes")
    for ending in ("json", "yaml", "yml")
)
"""What such a file is called, in the folder of a data set or one below it."""

WRAPPERS = ("classes", "labels")
LARGEST = 1_000_000
"""Bytes of a table."""

FORM = 'Write {"sky": [128, 128, 128], "road": [128, 64, 128]}, or a list of {"name": ..., "color": ...}'

Row = tuple[str, Color | int | None]
"""A class, with its colour, its value in the masks, or neither."""


def read_tree(path: Path) -> Table:
    """Read one table. Raises DataError naming the file and the entry."""
    rows = _rows(path)
    names = [name for name, _ in rows]
    colors = tuple(value for _, value in rows if isinstance(value, tuple))
    ids = tuple((value,) for _, value in rows if isinstance(value, int))
    for what, given in (("a colour", colors), ("a value", ids)):
        if given and len(given) < len(rows):
            raise DataError(path, f"{len(given)} of {len(rows)} classes have {what}", "Give it to all or to none")
    for what, values in (("names", names), ("colours", colors), ("values", ids)):
        twice = sorted({str(value) for value in values if values.count(value) > 1})  # type: ignore[arg-type]
        if twice:
            raise DataError(path, f"repeated {what} {listing(twice)}", "Give each class its own")
    return Table(tuple(names), path.name, colors or None, ids or None)


def _rows(path: Path) -> list[Row]:
    content = _content(path)
    if isinstance(content, dict):
        wrapped = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict | list)]
        content = wrapped[0] if wrapped else content
    if isinstance(content, dict) and content and all(str(key).isdigit() for key in content):
        rows = [_row(path, value, int(key)) for key, value in content.items()]
    elif isinstance(content, dict):
        rows = [_row(path, key, value) for key, value in content.items()]
    elif isinstance(content, list):
        rows = [_listed(path, entry) for entry in content]
    else:
        raise DataError(path, "no table and no list", FORM)
    if not rows:
        raise DataError(path, "nothing in it", FORM)
    return rows


def _content(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(path, f"{path.stat().st_size} bytes", f"A table of classes has at most {LARGEST}")
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text) if path.suffix == ".json" else parse_yaml(text, str(path))
    except (ValueError, RecursionError) as error:
        raise DataError(path, f"not readable: {' '.join(str(error).split())[:200]}", "Correct that line") from error
    except RecipeError as error:
        raise DataError(path, error.found, error.fix) from error


def _listed(path: Path, entry: Any) -> Row:
    if isinstance(entry, dict) and ("color" in entry or "colour" in entry):
        return _row(path, entry.get("name"), entry.get("color", entry.get("colour")))
    if isinstance(entry, dict):
        return _row(path, entry.get("name"), entry.get("id"))
    return _row(path, entry, None)


def _row(path: Path, name: Any, value: Any) -> Row:
    if not isinstance(name, str) or not name.strip():
        raise DataError(path, f"{str(name)[:60]!r} is no class's name", FORM)
    if isinstance(value, str) and (found := re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", value)):
        value = [int(pair, 16) for pair in found.groups()]
    if value is None or (type(value) is int and 0 <= value <= 65535):
        return name.strip(), value
    if isinstance(value, list) and len(value) == 3 and all(type(one) is int and 0 <= one <= 255 for one in value):
        return name.strip(), (value[0], value[1], value[2])
    raise DataError(path, f"{name[:60]}: {str(value)[:60]} is no colour and no value", FORM)
