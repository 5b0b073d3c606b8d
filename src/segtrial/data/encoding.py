"""All masks of a data set -> the one Encoding that reads them, the classes, and notes on what was understood."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segtrial.classes import Classes, Color
from segtrial.data._parallel import collected, each
from segtrial.data.glance import MASK_GLANCES, MaskGlance, mask_glance, tally
from segtrial.data.masks import Encoding, as_colors, as_values, mask_header, read_mask_picture, unpack
from segtrial.data.memory import is_remembered, seen
from segtrial.data.tables import Table
from segtrial.errors import DataError, MaskError, listing, several
from segtrial.shapes import IGNORE

MOST_VALUES = 64
"""More distinct values than this, without a class table, are taken for a lossy or anti-aliased mask."""

LOOKED_AT = 24
"""Masks whose colours are counted when there is no table to read them by."""

SHOWN_SHARE = 0.001
"""Colours with a smaller share of the pixels are counted, not shown."""

DESCRIBE = 'Describe the classes in data.yaml: "classes: [{name: sky, ids: [7]}, ...]" (and "ignore: [255]")'
DESCRIBE_COLORS = (
    'Describe them in data.yaml: "classes: [{name: sky, color: [128, 128, 128]}, ...]"; '
    '"color_tolerance: 300" lets other colours take the nearest class'
)


Look = tuple[dict[int, int] | None, dict[int, Color], bool]


@dataclass
class Survey:
    """What all masks hold: counts of values where they are numbers, the files where they are colours."""

    root: Path
    values: Counter[int] = field(default_factory=Counter)
    where: dict[int, Path] = field(default_factory=dict)
    palette: dict[int, Color] = field(default_factory=dict)
    colored: list[Path] = field(default_factory=list)
    lossy: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Understood:
    """How the masks are read, and what that says about the classes."""

    encoding: Encoding
    classes: Classes
    notes: tuple[str, ...] = ()


def survey(root: Path, masks: Sequence[Path], table: Table | None = None) -> Survey:
    """Look at every mask, in threads. Raises MaskError listing those that cannot be read.

    All are decoded, but for RGB masks where `table` has their colours: those need no looking at, unless somebody
    remembers what is seen.
    """
    total = Survey(root)
    by_table = table is not None and table.colors is not None
    if is_remembered():
        glances = zip(masks, seen(MASK_GLANCES, masks), strict=True)
        looks = (_told(path, one, by_table=by_table) for path, one in glances)
    else:
        looks = each(_look_unless_colored if by_table else _look, masks)
    for path, (values, palette, jpeg) in zip(masks, collected(root, looks, len(masks)), strict=True):
        if values is None:
            total.colored.append(path)
        else:
            total.values.update(values)
            for value in values:
                total.where.setdefault(value, path)
        total.palette.update(palette)
        if jpeg:
            total.lossy.append(path)
    return total


def understand(seen: Survey, table: Table | None, tolerance: float = 0.0) -> Understood:
    """The encoding and the classes. Raises MaskError if they cannot be told from what was seen."""
    if table is not None and table.colors is not None and table.ids is None and _by_color(seen, table.colors):
        return _colors(table, table.colors, tolerance)
    if seen.colored:
        raise _no_colors(seen, table)
    if table is not None and table.ids is not None:
        return _declared(table)
    if table is not None:
        return _named(seen, table)
    return _bare(seen)


def _look_unless_colored(path: Path) -> Look:
    header = mask_header(path)
    return (None, {}, header.format == "JPEG") if header.mode == "RGB" else _look(path)


def _look(path: Path) -> Look:
    return _meaning(path, mask_glance(path))


def _told(path: Path, one: MaskGlance | DataError, *, by_table: bool) -> Look | DataError:
    """What `_look` says, or by_table `_look_unless_colored`, by what was seen of a mask."""
    if isinstance(one, DataError):
        return one
    if by_table and one.mode == "RGB":
        return None, {}, one.format == "JPEG"
    try:
        return _meaning(path, one)
    except MaskError as error:
        return error


def _meaning(path: Path, one: MaskGlance) -> Look:
    """Counts of values (None for a coloured mask), the palette of the values used, and whether it is a JPEG."""
    if one.fault is not None:
        raise MaskError(path, *one.fault)
    jpeg = one.format == "JPEG"
    if one.colored:
        return None, {}, jpeg
    if one.distinct > len(one.numbers):
        numbers, counts = tally(as_values(path, read_mask_picture(path)))
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True)), {}, jpeg
    palette = zip(one.numbers, one.shown, strict=True) if one.shown else ()
    shown = {value: unpack(color) for value, color in palette if color >= 0}
    return dict(zip(one.numbers, one.counts, strict=True)), shown, jpeg


def _by_color(seen: Survey, colors: Sequence[Color]) -> bool:
    """Whether the masks' colours (a grey's colour is (v, v, v)), not their numbers, are what the table means."""
    if seen.colored:
        return True
    shown = {seen.palette.get(value, (value, value, value)) for value in seen.values}
    return shown <= set(colors) or not _fits(seen.values, len(colors))


def _fits(values: Counter[int], count: int) -> bool:
    return all(value < count or value == IGNORE for value in values)


def _colors(table: Table, colors: Sequence[Color], tolerance: float) -> Understood:
    meanings = {color: index for index, color in enumerate(colors)}
    note = f"masks are colours; {len(colors)} classes from {table.origin}"
    return Understood(Encoding(None, meanings, tolerance, table.names), _classes(table), (note,))


def _no_colors(seen: Survey, table: Table | None) -> MaskError:
    """The error for coloured masks that no table explains: it shows the colours and their shares."""
    step = max(1, len(seen.colored) // LOOKED_AT)
    files = seen.colored[::step][:LOOKED_AT]
    counts: Counter[int] = Counter()
    for path in files:
        numbers, counted = np.unique(as_colors(read_mask_picture(path)), return_counts=True)
        counts.update(dict(zip(numbers.tolist(), counted.tolist(), strict=True)))
    total = counts.total()
    shown = [(color, n) for color, n in counts.most_common(MOST_VALUES) if n >= SHOWN_SHARE * total]
    shares = ", ".join(f"{list(unpack(color))} {100 * n / total:.1f} %" for color, n in shown)
    rest = f" and {len(counts) - len(shown)} rarer ones" if len(counts) > len(shown) else ""
    known = f"{table.origin} gives no colours" if table else "there is no table of class colours"
    hold = several(len(seen.colored), "mask holds", "masks hold")
    where = "there" if len(files) == len(seen.colored) else f"in {len(files)} of them"
    found = f"{hold} RGB colours and {known}. Colours {where}: {shares}{rest}"
    return MaskError(seen.root, found, DESCRIBE_COLORS)


def _declared(table: Table) -> Understood:
    meanings = {value: index for index, values in enumerate(table.ids or ()) for value in values}
    classes = _classes(table)
    note = f"masks are class numbers; {len(classes)} classes from {table.origin}"
    return Understood(Encoding(meanings, names=classes.names), classes, (note,))


def _named(seen: Survey, table: Table) -> Understood:
    classes = _classes(table)
    if set(seen.values) == {0, IGNORE} and len(classes) == 2:
        return _binary(classes)
    wrong = {value: n for value, n in seen.values.items() if not 0 <= value < len(classes) and value != IGNORE}
    if wrong:
        found = _counted(seen, wrong)
        fix = f"Correct the masks or the table; with {len(classes)} names values are 0 to {len(classes) - 1} or 255"
        raise MaskError(seen.root, f"{table.origin} has {len(classes)} names but masks hold {found}", fix)
    meanings = {index: index for index in range(len(classes))} | {IGNORE: IGNORE}
    notes = (f"masks are class numbers; {len(classes)} classes from {table.origin}", *_ignore_note(seen))
    return Understood(Encoding(meanings, names=classes.names), classes, notes)


def _bare(seen: Survey) -> Understood:
    """Masks of numbers without a table."""
    values = sorted(seen.values)
    if values == [0, IGNORE]:
        return _binary(Classes.named(("background", "foreground")))
    contiguous = [value for value in values if value != IGNORE]
    holes = contiguous != list(range(len(contiguous)))
    if len(contiguous) > MOST_VALUES or (holes and seen.lossy):
        raise _lossy(seen, len(values))
    if holes or not contiguous:
        found = f"masks hold the values {_counted(seen, seen.values)}, which are not 0, 1, 2, ... without holes"
        raise MaskError(seen.root, found, DESCRIBE)
    if len(contiguous) == 1:
        raise MaskError(seen.root, "every mask is 0 everywhere: one class only", "Check that these are the masks")
    binary = len(contiguous) == 2 and not seen.palette
    classes = Classes.named(("background", "foreground")) if binary else _numbered(seen, len(contiguous))
    meanings = {index: index for index in range(len(classes))} | {IGNORE: IGNORE}
    note = f"masks are class numbers 0 to {len(classes) - 1}; without a table the classes have no names (classes.txt)"
    return Understood(Encoding(meanings, names=classes.names), classes, (note, *_ignore_note(seen)))


def _binary(classes: Classes) -> Understood:
    note = f"masks are 0 and 255: read as {classes.names[0]} (0) and {classes.names[1]} (255)"
    return Understood(Encoding({0: 0, 255: 1}, names=classes.names), classes, (note,))


def _numbered(seen: Survey, count: int) -> Classes:
    """Numbered classes, in the colours of the masks' palette if they have one."""
    colors = tuple(seen.palette.get(index, (0, 0, 0)) for index in range(count))
    classes = Classes.numbered(count)
    return Classes(classes.names, colors) if len(set(colors)) == count else classes


def _classes(table: Table) -> Classes:
    return Classes(table.names, table.colors) if table.colors else Classes.named(table.names)


def _ignore_note(seen: Survey) -> tuple[str, ...]:
    share = seen.values[IGNORE] / max(1, seen.values.total())
    return (f"value 255 ({100 * share:.1f} % of the pixels) counts nowhere (IGNORE)",) if share else ()


def _counted(seen: Survey, values: Counter[int] | dict[int, int]) -> str:
    return listing(f"{value} ({count} pixels, first in {seen.where[value]})" for value, count in sorted(values.items()))


def _lossy(seen: Survey, distinct: int) -> MaskError:
    kind = f"; {len(seen.lossy)} of the masks are JPEG files" if seen.lossy else ""
    found = f"masks hold {distinct} distinct values{kind}: a lossy or anti-aliased mask, or a list of many classes"
    fix = (
        "Save masks as PNG without smoothing; or name the classes in classes.txt; or give two or more classes"
        ' a color and a color_tolerance in data.yaml ("classes: [{name: background, color: [0, 0, 0]},'
        ' {name: foreground, color: [255, 255, 255]}]", "color_tolerance: 300")'
    )
    return MaskError(seen.lossy[0] if seen.lossy else seen.root, found, fix)
