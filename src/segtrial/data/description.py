"""data.yaml -> Dataset: the user's way to say what a folder cannot say for itself. All keys are optional.

root: ../faces                # folder of the data, from the place of this file; without it, this folder
images: photos                # a folder, or {train: a, val: b}; without images and masks they are looked for
masks: drawings
mask_suffix: _L               # what a mask's name has more than its image's
mask_files: class             # a mask file for each class or object: masks/a_CLASS.png (see layers.py)
classes:                      # names only: [sky, road]; or with colours, or with the values in the masks
  - {name: skin, color: [255, 255, 0]}
  - {name: hair, color: [127, 0, 0]}
color_tolerance: 300          # a colour that is not listed takes the nearest class at most this far away
ignore: [255, Void]           # values, [r, g, b] colours, or class names whose pixels count nowhere
merges: {LaneMkgsDriv: Road}  # class -> the class that takes its pixels
drops: [Archway]              # classes whose pixels count nowhere
group: '^images/(\\d+)'       # a search in the key; its parenthesis is the group that a split never cuts
splits: {train: [a_, b_], val: val.txt}   # beginnings of names, or a file with one name a line
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from segtrial.classes import Color
from segtrial.data._walk import File, hidden_stems, walk
from segtrial.data.encoding import Survey, Understood, survey, understand
from segtrial.data.folder import by_part
from segtrial.data.layers import dataset_of, layered
from segtrial.data.masks import Encoding
from segtrial.data.merging import reduce_classes
from segtrial.data.pairing import Pair, Pairs, find_pairs, pair
from segtrial.data.reading import Fingerprint, Reader, channels_of, items_of
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.data.tables import Table, find_table, with_swaps
from segtrial.errors import DataError, DataNotFound, SplitError, listing, nearest, several
from segtrial.shapes import IGNORE

LARGEST = 1_000_000
"""Bytes of a data.yaml; nobody writes more by hand."""

Byte = Annotated[int, Field(ge=0, le=255, strict=True)]
Rgb = tuple[Byte, Byte, Byte]
Folders = str | dict[str, str]
PARTS = ("train", "val", "test")


class Described(BaseModel):
    """One class as the file declares it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    color: Rgb | None = None
    ids: tuple[Annotated[int, Field(ge=0, le=65535, strict=True)], ...] | None = None


def _described(one: object) -> object:
    """A bare name is a class without colour and values."""
    return {"name": one} if isinstance(one, str) else one


class Description(BaseModel):
    """The file, validated. Fields are explained at the top of this module."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    root: str = "."
    images: Folders | None = None
    masks: Folders | None = None
    mask_suffix: str | None = None
    mask_files: Literal["class"] | None = None
    classes: tuple[Annotated[Described, BeforeValidator(_described)], ...] = ()
    color_tolerance: Annotated[float, Field(ge=0, le=442)] = 0.0
    ignore: tuple[int | str | Rgb, ...] = ()
    merges: dict[str, str] = Field(default_factory=dict)
    drops: tuple[str, ...] = ()
    group: str | None = None
    splits: dict[str, tuple[str, ...] | str] = Field(default_factory=dict)


def open_description(path: Path, options: SplitOptions) -> Dataset:
    """Understand the folder that `path` describes. Raises DataError naming the file, the key and the fix."""
    about = read_description(path)
    root = path.parent / about.root
    if not root.is_dir():
        raise DataNotFound(path, f"root: {root} is no folder", "Give it relative to the place of this file")
    if about.mask_files is not None:
        return _open_layers(path, root, about, options)
    pairs = _pairs(path, root, about)
    items = items_of(pairs.pairs)
    channels, mixed = channels_of(root, items)
    table = _table(path, about) or find_table(root)
    understood = _understood(about, table, survey(root, [pair.target for pair in pairs.pairs], table))
    classes, swapped = with_swaps(understood.classes)
    items, grouped = _grouped(path, root, about, items)
    chosen, left_out = _chosen(path, root, about, items) if about.splits else (by_part(pairs, items), ())
    parts, made = split(chosen, options, str(path))
    reader = Reader(understood.encoding, channels)
    notes = (f"described by {path.name}", *pairs.notes, *understood.notes, *swapped, *mixed, *grouped, *left_out, *made)
    return Dataset(root, "folder", classes, parts, reader, Fingerprint.of(reader), notes)


def read_description(path: Path) -> Description:
    """The validated file. Raises DataError for YAML faults, unknown or repeated keys and wrong values."""
    if path.stat().st_size > LARGEST:
        raise DataError(path, f"{path.stat().st_size} bytes", f"A description has at most {LARGEST}")
    try:
        content = yaml.load(path.read_bytes().decode("utf-8-sig"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(path, f"not plain YAML: {' '.join(str(error).split())[:300]}", "Correct that line") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise DataError(path, f"a {type(content).__name__}, not a table of keys", 'Write lines such as "masks: labels"')
    _check_keys(path, content)
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(word) for word in first["loc"])
        found = f"{key}: {first['msg'].lower()}, found {str(first['input'])[:80]!r}"
        raise DataError(path, found, "Its form is shown in the documentation of data.yaml") from error


class _Loader(yaml.SafeLoader):
    """Plain YAML without repeated keys and without aliases (which can grow without bound)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias (*name){self.peek_event().start_mark}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.YAMLError(f"the key {key.value!r} is there twice{key.start_mark}")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _check_keys(path: Path, content: Mapping[Any, Any]) -> None:
    known = sorted(Description.model_fields)
    for key in content:
        if key not in known:
            raise DataError(path, f"unknown key {key!r}", f"{nearest(str(key), known)}Keys are: {', '.join(known)}")
    unknown = [part for part in content.get("splits") or {} if part not in PARTS]
    if unknown:
        raise DataError(path, f"splits: unknown parts {unknown}", f"Parts are: {', '.join(PARTS)}")


def described_pairs(path: Path) -> tuple[Path, tuple[Pair, ...]]:
    """The folder that a description is of, and the pairs in it. Raises DataError, as opening it does."""
    about = read_description(path)
    root = path.parent / about.root
    return root, _pairs(path, root, about).pairs


def _open_layers(path: Path, root: Path, about: Description, options: SplitOptions) -> Dataset:
    """A folder with a mask file for each class: their names say the classes, so that nothing else may."""
    useless = [key for key in ("classes", "merges", "drops", "ignore", "mask_suffix") if getattr(about, key)]
    if useless or about.images is None or about.masks is None:
        found = f"mask_files with {listing(useless)}" if useless else "mask_files without images and masks"
        raise DataError(path, found, "With mask_files give images and masks; the files' names are the classes")
    images, masks = _files(path, root, about.images, "image"), _files(path, root, about.masks, "mask")
    found = layered(root, images, masks)
    items, grouped = _grouped(path, root, about, found.items)
    chosen, left_out = _chosen(path, root, about, items) if about.splits else (found.by_part(items), ())
    parts, made = split(chosen, options, str(path))
    return dataset_of(root, found, parts, (*grouped, *left_out, *made))


def _pairs(path: Path, root: Path, about: Description) -> Pairs:
    if (about.images is None) != (about.masks is None):
        raise DataError(path, "only one of images and masks is given", "Give both, or neither")
    if about.images is None or about.masks is None or about.images == about.masks:
        folder = root / about.images if isinstance(about.images, str) else root
        return find_pairs(folder, about.mask_suffix)
    images, masks = _files(path, root, about.images, "image"), _files(path, root, about.masks, "mask")
    pairs, how = pair(root, images, masks, about.mask_suffix)
    return Pairs(pairs, (how,))


def _files(path: Path, root: Path, folders: Folders, role: str) -> list[File]:
    """The pictures of declared folders; `rest` is their place below the folder, their key is from the root."""
    files = []
    for part, folder in (folders if isinstance(folders, dict) else {"": folders}).items():
        if not (root / folder).is_dir():
            raise DataNotFound(path, f"{root / folder} is no folder", f"Correct {role}s, relative to {root}")
        for file in walk(root / folder).pictures:
            key = "/".join(name for name in (Path(folder).as_posix(), file.key) if name != ".")
            files.append(replace(file, key=key, role=role, part=part or file.part))
    if not files:
        raise DataNotFound(path, f"no picture below {folders}", f"Correct {role}s, relative to {root}")
    return sorted(files, key=lambda file: file.key)


def _understood(about: Description, table: Table | None, seen: Survey) -> Understood:
    """The encoding with the file's classes, ignored values and colours, merges and drops."""
    values = {value for value in about.ignore if isinstance(value, int)}
    colors = {value for value in about.ignore if isinstance(value, tuple)}
    names = [name for name in about.ignore if isinstance(name, str)]
    for value in values:
        seen.values.pop(value, None)
    understood = understand(seen, table, about.color_tolerance)
    meant = understood.encoding
    encoding = Encoding(
        {**meant.values, **dict.fromkeys(values, IGNORE)} if meant.values is not None else None,
        {**meant.colors, **dict.fromkeys(colors, IGNORE)} if meant.colors is not None else None,
        meant.tolerance,
        meant.names,
    )
    return reduce_classes(replace(understood, encoding=encoding), about.merges, (*about.drops, *names))


def _table(path: Path, about: Description) -> Table | None:
    if not about.classes:
        return None
    names = tuple(one.name for one in about.classes)
    colors = tuple(one.color for one in about.classes if one.color is not None)
    ids = tuple(one.ids for one in about.classes if one.ids is not None)
    for what, given in (("color", colors), ("ids", ids)):
        if given and len(given) < len(names):
            raise DataError(path, f"{len(given)} of {len(names)} classes have {what}", "Give it to all or to none")
    _no_repeats(path, "value", [value for values in ids for value in values])
    _no_repeats(path, "colour", list(colors))
    return Table(names, path.name, colors or None, ids or None)


def _no_repeats(path: Path, what: str, given: Sequence[int | Color]) -> None:
    twice = sorted({one for one in given if given.count(one) > 1}, key=str)
    if twice:
        raise DataError(path, f"classes: {what} {listing(twice)} stands for several classes", "Give it to one")


def _grouped(path: Path, root: Path, about: Description, items: list[Item]) -> tuple[list[Item], tuple[str, ...]]:
    if about.group is None:
        return with_groups(items, str(root))
    try:
        rule = re.compile(about.group)
    except re.error as error:
        raise DataError(path, f"group: {about.group!r} is no regular expression ({error})", "Correct it") from error
    if rule.groups != 1:
        raise DataError(path, f"group: {about.group!r} has {rule.groups} parentheses", "It needs exactly one")
    found = {item.key: rule.search(item.key) for item in items}
    missed = [key for key, match in found.items() if match is None]
    if missed:
        raise SplitError(path, f"group: {about.group!r} is not found in {listing(missed, 5)}", "Make it fit every key")
    groups = {key: match[1] for key, match in found.items() if match is not None}
    note = f"{len(set(groups.values()))} groups by the rule {about.group!r}"
    return [replace(item, group=groups[item.key]) for item in items], (note,)


def _chosen(
    path: Path, root: Path, about: Description, items: Sequence[Item]
) -> tuple[dict[str, list[Item]], tuple[str, ...]]:
    """Items under the parts that `splits` puts them in; items in no part are left out, with a note."""
    parts = {part: _members(path, root, part, rule, items) for part, rule in about.splits.items()}
    counts: dict[str, list[str]] = {}
    for part, members in parts.items():
        for item in members:
            counts.setdefault(item.key, []).append(part)
    twice = [f"{key} ({' and '.join(places)})" for key, places in counts.items() if len(places) > 1]
    if twice:
        raise SplitError(path, f"splits: in several parts: {listing(twice)}", "Make the beginnings or lists disjoint")
    left = len(items) - len(counts)
    return parts, ((f"{several(left, 'image is', 'images are')} in no part of splits: left out",) if left else ())


def _members(path: Path, root: Path, part: str, rule: tuple[str, ...] | str, items: Sequence[Item]) -> list[Item]:
    if isinstance(rule, str):
        return _listed(path, root, part, rule, items)
    hidden = [Item(stem, stem) for stem in hidden_stems()]
    unused = [start for start in rule if not any(_begins(item, start) for item in (*items, *hidden))]
    if unused:
        raise SplitError(path, f"splits.{part}: no image begins with {listing(unused)}", f"A key is {items[0].key!r}")
    return [item for item in items if any(_begins(item, start) for start in rule)]


def _begins(item: Item, start: str) -> bool:
    return item.key.startswith(start) or item.key.rsplit("/", 1)[-1].startswith(start)


def _listed(path: Path, root: Path, part: str, file: str, items: Sequence[Item]) -> list[Item]:
    """The items that a list file names, by key or by name, with or without extension."""
    place = next((one for one in (path.parent / file, root / file) if one.is_file()), None)
    if place is None:
        raise DataNotFound(path, f"splits.{part}: there is no file {file}", "Give beginnings as a list, or a file")
    by_name = {name: item for item in items for name in (item.key.rsplit("/", 1)[-1], item.key)}
    members = []
    for number, line in enumerate(place.read_bytes().decode("utf-8-sig").splitlines(), start=1):
        name = line.strip().split(" ")[0]
        if name and (item := by_name.get(name) or by_name.get(name.rsplit(".", 1)[0])) is not None:
            members.append(item)
        elif name and not {Path(name).name, Path(name).stem} & hidden_stems():
            raise SplitError(f"{place}:{number}", f"no image is called {name!r}", f"A key is {items[0].key!r}")
    return members
