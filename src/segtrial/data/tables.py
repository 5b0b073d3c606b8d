"""A table of class names on disk -> Table: label_colors.txt, class_dict.csv, classes.txt, or JSON and YAML."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from segtrial.classes import Classes, Color
from segtrial.errors import DataError

COLOR_TABLES = ("label_colors.txt", "class_dict.csv")
NAME_TABLES = ("classes.txt",)
VOID_NAMES = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled"})


@dataclass(frozen=True)
class Table:
    """What is known of the classes before a mask is read; `colors` and `ids` are None if not given.

    `ids` holds, per class, the values that mean it in an index mask. `origin` is where it was found.
    """

    names: tuple[str, ...]
    origin: str
    colors: tuple[Color, ...] | None = None
    ids: tuple[tuple[int, ...], ...] | None = None


def find_table(root: Path) -> Table | None:
    """The table in `root` or one folder below it, None if there is none. Raises DataError on a bad line."""
    from segtrial.data.table_files import NAMES, read_tree  # which builds on this file

    for name in (*COLOR_TABLES, *NAME_TABLES, *NAMES):
        for path in (root / name, *sorted(root.glob(f"*/{name}"))):
            if path.is_file():
                return read_tree(path) if name in NAMES else read_table(path)
    return None


def read_table(path: Path) -> Table:
    """Read one table. Raises DataError naming the file and the line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"not UTF-8 text ({error.reason})", "Save it as UTF-8") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    rows: list[tuple[str, Color | None]]
    if path.suffix == ".csv":
        rows = [_csv_row(path, number, line) for number, line in lines[1:]]  # the first line is a header
    elif path.name in NAME_TABLES:
        rows = [(line, None) for _, line in lines]
    else:
        rows = [_color_row(path, number, line) for number, line in lines]
    if not rows:
        raise DataError(path, "no class in it", "Write one class a line")
    return _table(path, rows)


def swaps_of(names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs of classes whose names differ in left and right only (l_eye and r_eye, left arm and right arm)."""
    places = {name: index for index, name in enumerate(names)}
    mirrored = ((index, places.get(_other_side(name))) for name, index in places.items())
    return tuple((left, right) for left, right in mirrored if right is not None and left < right)


def with_swaps(classes: Classes) -> tuple[Classes, tuple[str, ...]]:
    """The classes with their left/right pairs, and a note if there are any."""
    swaps = swaps_of(classes.names)
    if not swaps:
        return classes, ()
    pairs = ", ".join(f"{classes.names[left]}/{classes.names[right]}" for left, right in swaps)
    note = f"a horizontal flip exchanges these classes, by their names: {pairs}"
    return Classes(classes.names, classes.colors, swaps), (note,)


def _other_side(name: str) -> str:
    sides = {"l": "r", "r": "l", "left": "right", "right": "left", "L": "R", "R": "L", "Left": "Right", "Right": "Left"}
    return "".join(sides.get(word, word) for word in re.split(r"([_\-. ]+)", name))


def _color_row(path: Path, number: int, line: str) -> tuple[str, Color | None]:
    match = re.fullmatch(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.+)", line)
    if match is None:
        raise DataError(f"{path}:{number}", f"cannot read {line[:60]!r}", 'Write "R G B name"')
    return match[4].strip(), _color(path, number, match.groups()[:3])


def _csv_row(path: Path, number: int, line: str) -> tuple[str, Color | None]:
    cells = [cell.strip() for cell in next(csv.reader([line]))]
    if len(cells) != 4 or not all(cell.isdigit() for cell in cells[1:]):
        raise DataError(f"{path}:{number}", f"cannot read {line[:60]!r}", 'Write "name,r,g,b"')
    return cells[0], _color(path, number, cells[1:])


def _color(path: Path, number: int, texts: list[str] | tuple[str, ...]) -> Color:
    red, green, blue = (int(text) for text in texts)
    if max(red, green, blue) > 255:
        raise DataError(f"{path}:{number}", f"colour {red} {green} {blue}", "Use 0 to 255")
    return red, green, blue


def _table(path: Path, rows: list[tuple[str, Color | None]]) -> Table:
    names = tuple(name for name, _ in rows)
    colors = tuple(color for _, color in rows if color is not None)
    repeated = sorted({color for color in colors if colors.count(color) > 1})
    if repeated:
        raise DataError(path, f"colours {repeated} stand for several classes", "Give each class one colour")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(path, f"repeated names {twice}", "Give each class a name of its own")
    return Table(names, path.name, colors or None)
