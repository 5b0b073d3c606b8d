"""A whole network -> one torch program for images of any size, and its .pt2 file (torch.export)."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor
from torch._dynamo.exc import UserError as DynamoError
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as shapes_config
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._sympy.value_ranges import ValueRanges

from segtrial.errors import UserError
from segtrial.exporting.card import KEY
from segtrial.models._whole import Whole

EXAMPLE = (2, 83, 117)
"""Batch, height and width that a network is traced with: of no special size, so that nothing is taken for granted."""


def traced(network: Whole, numbers: torch.dtype) -> ExportedProgram:
    """The network as a graph, with normalisation, padding and crop, for `b c h w` images of `numbers`, any b, h and w.

    The graph has answered for images of other sizes as the network does when it is returned. Raises UserError, naming
    the operator, for a network that decides by the size of the image what to do, or takes images of one size only.
    """
    network = deepcopy(network).to(memory_format=torch.contiguous_format)  # torch.export.save wants it so
    batch, height, width = EXAMPLE
    example = torch.zeros(batch, network.channels, height, width, dtype=numbers)
    free = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    with _sizes_unasked(), _questions() as asked, torch.no_grad():
        try:
            program = torch.export.export(
                network, (example,), dynamic_shapes=(free,), prefer_deferred_runtime_asserts_over_guards=True
            )
        except (RuntimeError, ValueError, DynamoError) as error:
            raise _refusal(asked, str(error)) from error
    _tidy(program)
    differs = _differs(program, network, numbers)
    if differs:
        raise _refusal(asked, differs)
    return program


def save(program: ExportedProgram, path: Path, card: str) -> None:
    """Write a .pt2 file with the card as the extra file segtrial.json."""
    torch.export.save(program, path, extra_files={f"{KEY}.json": card})


class Program:
    """A .pt2 file, read again: images `b c h w` -> scores `b k h w`. `card` is what the file says of itself."""

    def __init__(self, path: Path):
        extra = {f"{KEY}.json": ""}
        self._run = torch.export.load(path, extra_files=extra).module()
        self.card: dict[str, Any] = json.loads(extra[f"{KEY}.json"])

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self._run(images)


@contextmanager
def _sizes_unasked() -> Iterator[None]:
    """Sizes stay symbols as long as nobody asks what they are, nor if they are 1.

    torch asks the latter where it lays out memory, unless told not to; jaxtyping's checks, which tests switch on,
    compare sizes.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with shapes_config.patch(backed_size_oblivious=True):  # pyright: ignore[reportAttributeAccessIssue]
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def _tidy(program: ExportedProgram) -> None:
    """Without lines of source code with this machine's paths, without assertions and least sizes, such as that a map is
    higher than one pixel: they restate what was true of the example, needed or not. What a network needs is found by
    trying.
    """
    graph = program.graph_module.graph
    for node in graph.nodes:
        node.meta.pop("stack_trace", None)
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    for size, found in program.range_constraints.items():
        program.range_constraints[size] = ValueRanges(1, found.upper)


def _differs(program: ExportedProgram, network: Whole, numbers: torch.dtype) -> str | None:
    """How the program fails to answer as the network does for sizes that it was not traced with; None if it answers."""
    run, least = program.module(), 2 * network.multiple
    for size in ((1, 1, 1), (1, least, least + 1), (3, least + 5, 2)):
        noise = torch.rand(size[0], network.channels, *size[1:], generator=torch.Generator().manual_seed(0))
        images = (255 * noise).to(numbers) if numbers == torch.uint8 else noise.to(numbers)
        with torch.no_grad():
            expected = network(images)
            try:
                found = run(images)
            except (RuntimeError, AssertionError) as error:
                return str(error)
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            return f"it answers otherwise for images of {size[1]}x{size[2]} pixels"
    return None


Questions = list[tuple[Any, str]]
"""What was asked of the sizes while tracing, a condition of sympy's that was true of the example, and where."""


@contextmanager
def _questions() -> Iterator[Questions]:
    """Note what is asked of the sizes. torch keeps the conditions, and of most it forgets where they come from."""
    asked: Questions = []
    log = ShapeEnv._log_guard

    def note(shapes: ShapeEnv, prefix: str, condition: Any, forcing_spec: bool) -> None:
        asked.append((condition, _statement(traceback.extract_stack())))
        log(shapes, prefix, condition, forcing_spec)

    ShapeEnv._log_guard = note  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield asked
    finally:
        ShapeEnv._log_guard = log


def _statement(stack: traceback.StackSummary) -> str:
    """The innermost line of the stack that is a network's: "unet.py, line 12: F.interpolate(x, (32, 32))"."""
    begin = next((index for index, frame in enumerate(stack) if frame.name == "forward"), len(stack))
    others = (__file__, *(str(Path(str(module.__file__)).parent) for module in (torch, jaxtyping)))
    lines = [frame for frame in stack[begin:] if not frame.filename.startswith(others)]
    return f"{Path(lines[-1].filename).name}, line {lines[-1].lineno}: {lines[-1].line}" if lines else "torch's own"


def _refusal(asked: Questions, reason: str) -> UserError:
    """The first condition that is not true of all images above a few pixels is the one to blame."""
    lengths = (16, 33, 250)
    places = (
        place
        for condition, place in asked
        if any(condition.subs(dict.fromkeys(condition.free_symbols, length)) == False for length in lengths)  # noqa: E712
    )
    found = (
        f"it cannot be exported for images of any size: {next(places, 'an operator')} ({reason.splitlines()[0]:.160})"
    )
    return UserError("the network", found, "Export another one: docs/export.md lists those that can be")
