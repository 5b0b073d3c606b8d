"""What is wrong in a recipe, as pydantic found it -> one error with the key, the value and the fix, in plain words."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from segtrial.errors import RecipeError, nearest

KNOWN_AS = {"learning_rate": "optimizer.lr", "batch_size": "phases[].batch", "image_size": "phases[].crop"}
"""Names that other programs give to fields of ours."""

LONGEST = 60
"""Characters of a value that a message shows."""

_BOUNDS = {
    "greater_than": ("gt", "is too small", "Give more than"),
    "greater_than_equal": ("ge", "is too small", "Give at least"),
    "less_than": ("lt", "is too large", "Give less than"),
    "less_than_equal": ("le", "is too large", "Give at most"),
}
_KINDS = {
    "string_type": ("is no text", "Write text, in quotes if it looks like a number"),
    "int_type": ("is no whole number", "Write one without a point and without quotes, such as 3"),
    "float_type": ("is no number", "Write one without quotes, such as 0.5"),
    "bool_type": ("is neither true nor false", "Write true or false"),
    "finite_number": ("is no finite number", "Write one, such as 0.5"),
    "dict_type": ("is no mapping", "Write fields with values, such as {epochs: 3}"),
    "too_long": ("has too many values", "Leave some out"),
}


def explained(error: ValidationError, place: str, root: type[BaseModel]) -> RecipeError:
    """What is wrong in a recipe of the form `root`, as something a person can mend: one fault, unknown keys first."""
    first = min(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    steps, holder = _walked(first["loc"], root)
    key, value, kind = dotted(steps), first["input"], first["type"]
    if kind == "extra_forbidden":
        return RecipeError(place, f"unknown key {key!r}", _meant(steps, holder, root))
    if kind == "missing":
        fix = "Give one more value" if isinstance(steps[-1], int) else f"Add it; needed are {_needed(holder)}"
        return RecipeError(place, f"{key} is not given", fix)
    if kind == "model_type":
        return RecipeError(place, *_no_part(key, value, _part_at(steps, root)))
    if kind == "value_error":
        return RecipeError(place, *_contradiction(key, value, str(first.get("ctx", {})["error"])))
    what, fix = _no_value(kind, value, first.get("ctx", {}))
    return RecipeError(place, f"{key}={shown(value)} {what}", fix)


def _no_value(kind: str, value: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    """What a value is not, and what to write instead."""
    if kind == "literal_error":
        choices = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return "is no choice", f"{nearest(str(value), choices)}Choose one of: {', '.join(choices)}"
    if kind in _BOUNDS:
        bound, what, fix = _BOUNDS[kind]
        limit = context[bound]
        return what, f"{fix} {limit:g}" if isinstance(limit, float) else f"{fix} {limit}"
    if kind == "tuple_type":
        single = not isinstance(value, Mapping | None)
        return "is no list", f"Write [{value}]" if single else "Write a list, such as [a, b]"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return "is no whole number", f"Write {value:.0f}"
    what, fix = _KINDS.get(kind, ("is not understood", "Write what `segtrial recipe show` says of it"))
    return what, fix if value is not None else f"{fix}, or leave the line out"


def _contradiction(key: str, value: Any, said: str) -> tuple[str, str]:
    """What a validator of ours said, "found; fix" or the fix alone, as both."""
    found, _, fix = said.rpartition("; ")
    fix = fix[0].upper() + fix[1:]
    if isinstance(value, Mapping):  # several fields of one part together
        return (f"{key}: {found}" if key and found else found or "its fields contradict each other"), fix
    return f"{key}={shown(value)} {f'is refused: {found}' if found else 'is no choice'}", fix


def dotted(steps: tuple[int | str, ...]) -> str:
    """("phases", 0, "batch") -> "phases[0].batch"."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def shown(value: Any) -> str:
    """A value as a message shows it: short, and words as YAML spells them."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def part_in(annotation: Any) -> type[BaseModel] | None:
    """The part that a field of this type holds, or holds several of; None if it holds plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for inner in get_args(annotation) if (part := part_in(inner))), None)


def keys(root: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all fields that hold plain values; of a list of parts, phases[].batch and so on."""
    for name, field in root.model_fields.items():
        part = part_in(field.annotation)
        if part is None:
            yield prefix + name
        else:
            yield from keys(part, f"{prefix}{name}{'' if field.annotation is part else '[]'}.")


def unplain(tree: Any, steps: tuple[int | str, ...] = ()) -> tuple[str, Any] | None:
    """The key and the value of the first thing in a tree that is no plain value."""
    if isinstance(tree, Mapping):
        inner = [(*steps, str(name)) for name in tree], list(tree.values())
    elif isinstance(tree, list | tuple):
        inner = [(*steps, index) for index in range(len(tree))], list(tree)
    elif tree is None or isinstance(tree, bool | int | float | str):
        return None
    else:
        return dotted(steps), tree
    return next((found for below, value in zip(*inner, strict=True) if (found := unplain(value, below))), None)


def _walked(loc: tuple[int | str, ...], root: type[BaseModel]) -> tuple[tuple[int | str, ...], type[BaseModel]]:
    """pydantic's path without the names of union members, and the part that its last key stands in."""
    steps: list[int | str] = []
    part: type[BaseModel] | None = root
    holder = root
    for step in loc:
        if isinstance(step, int):
            steps.append(step)
        elif part is not None:
            steps.append(step)
            holder, field = part, part.model_fields.get(step)
            part = part_in(field.annotation) if field else None
    return tuple(steps), holder


def _part_at(steps: tuple[int | str, ...], root: type[BaseModel]) -> type[BaseModel]:
    for step in steps:
        if isinstance(step, str):
            root = part_in(root.model_fields[step].annotation) or root
    return root


def _meant(steps: tuple[int | str, ...], holder: type[BaseModel], root: type[BaseModel]) -> str:
    """The key that was meant: the nearest one here, else elsewhere; where none is near, all that are known here."""
    name, prefix = str(steps[-1]), dotted(steps[:-1])
    here = {one: f"{prefix}.{one}".removeprefix(".") for one in holder.model_fields}
    elsewhere = {key.rpartition(".")[2]: key for key in keys(root)} | KNOWN_AS
    near = difflib.get_close_matches(name, here, n=1) or [one for one in here if name in one.split("_")]
    far = difflib.get_close_matches(name, elsewhere, n=1, cutoff=1.0 if prefix else 0.6)
    if near or far:
        return f"Did you mean {here[near[0]] if near else elsewhere[far[0]]!r}?"
    return f"Known {f'in {prefix}' if prefix else 'here'}: {', '.join(here)}"


def _needed(part: type[BaseModel]) -> str:
    return ", ".join(name for name, field in part.model_fields.items() if field.is_required())


def _no_part(key: str, value: Any, part: type[BaseModel]) -> tuple[str, str]:
    fields = ", ".join(part.model_fields)
    if value is None:
        return f"{key} is empty", f"Write its fields below it ({fields}), or leave the line out"
    meant = f"Did you mean {key}.name={value}? " if isinstance(value, str) and "name" in part.model_fields else ""
    return f"{key}={shown(value)} is no mapping", f"{meant}Write its fields below it: {fields}"
