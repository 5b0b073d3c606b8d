"""A function of the user's own, and a crop -> what it makes of the crop; the recipe knows its name and source.

It is called as `f(image, mask, rng)` with the image `h w c` (uint8, or float32 from 0 to 1), the mask `h w` of class
indices and IGNORE, both to be written into as it likes, and a numpy Generator that depends on (seed, epoch, key) alone.
It returns (image, mask) of the same sizes and types. Code is no part of a recipe (law 4), so it is given in Python,
`st.train(augment=f)`, and given again to continue the run.
"""

import inspect
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from segtrial.data._arrays import through_arrays
from segtrial.errors import RecipeError
from segtrial.files import sha256
from segtrial.randomness import generator

Function = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]

REHEARSED = 4
"""Draws that a function is tried with before training."""


def word_of(function: Any) -> str:
    """What a recipe says of a function: "name digest", the digest being SHA-256 of its source, dedented.

    Raises RecipeError unless it is a plain function whose source decides what it does: no lambda, no object, nothing
    that holds values of a function around it.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if not inspect.isfunction(function) or name == "<lambda>" or function.__closure__:
        found = f"{name} is no function that its source alone decides (a lambda, an object or a closure)"
        raise RecipeError("augment", found, "Give a function written with def that needs nothing from around it")
    try:
        source = inspect.getsource(function)
    except OSError as error:
        raise RecipeError("augment", f"the source of {name} cannot be read", "Write it into a file") from error
    return f"{name} {sha256(dedent(source).encode())}"


def required(word: str | None, function: Function | None, workers: int) -> Function | None:
    """The function that a recipe names, if it names one.

    Raises RecipeError if that is not the one given, and if `workers` processes could not import it.
    """
    if word is None:
        return None
    name = word.partition(" ")[0]
    if function is None or word_of(function) != word:
        given = "none is given" if function is None else f"{word_of(function)} is given"
        fix = f"Call st.train(..., augment={name}) with that source, or set augment.own to null for another run"
        raise RecipeError("augment.own", f"the recipe was made with the function {word}, and {given}", fix)
    if workers and not _importable(function):
        fix = "Write it at the top of a module and import it from there, or set workers=0"
        raise RecipeError("workers", f"{workers} processes cannot import {function.__qualname__}", fix)
    return function


def apply(
    function: Function,
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    *,
    classes: int,
    seed: int,
    epoch: int,
    key: str,
) -> tuple[UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], UInt8[Tensor, "h w"]]:
    """What the function makes of a crop of sample `key`.

    Raises RecipeError, with the function's name and the key, if it fails or returns another form.
    """
    place = f"augment={function.__name__}, sample {key!r}"

    def change(image: np.ndarray, mask: np.ndarray) -> Any:  # checked below
        try:
            return function(image, mask, generator(seed, "own", epoch, key))
        except Exception as error:  # whatever the function raises
            last = traceback.extract_tb(error.__traceback__)[-1]
            found = f"{type(error).__name__} ({error}) in line {last.lineno} of {Path(last.filename).name}"
            raise RecipeError(place, found, "Correct the function") from error

    return through_arrays(image, target, change, classes=classes, place=place)


def rehearse(
    function: Function,
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    **where: Any,
) -> None:
    """Call it twice with equal arguments, for a few draws; RecipeError if it fails or answers differently."""
    for epoch in range(REHEARSED):
        once, again = (apply(function, image, target, epoch=epoch, **where) for _ in range(2))
        if not all(torch.equal(one, other) for one, other in zip(once, again, strict=True)):
            found = "it answers two calls with equal arguments differently"
            fix = "Let it draw from rng alone, and remember nothing from call to call"
            raise RecipeError(f"augment={function.__name__}", found, fix)


def _importable(function: Function) -> bool:
    """Whether another process finds it by its name."""
    if function.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        return False  # typed into a notebook or a prompt
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError):
        return False
    return True
