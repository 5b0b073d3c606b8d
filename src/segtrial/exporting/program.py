"""A whole network -> one torch program for images of any size, and its .pt2 file (torch.export)."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as shapes_config

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
    batch, height, width = EXAMPLE
    example = torch.zeros(batch, network.channels, height, width, dtype=numbers)
    free = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    try:
        with _sizes_unasked(), torch.no_grad():
            program = torch.export.export(
                network, (example,), dynamic_shapes=(free,), prefer_deferred_runtime_asserts_over_guards=True
            )
    except (RuntimeError, ValueError) as error:  # torch's own errors are of these
        raise _refusal(_statement(traceback.extract_tb(error.__traceback__)), str(error)) from error
    _drop_assertions(program)
    _require_open(program, network, example)
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
        with shapes_config.patch(backed_size_oblivious=True):
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def _drop_assertions(program: ExportedProgram) -> None:
    """Without the assertions that torch leaves in the graph, such as that a map is more than one pixel high.

    They restate what was true of the example, needed or not; what a network needs is found by `_require_open`.
    """
    graph = program.graph_module.graph
    for node in graph.nodes:
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _require_open(program: ExportedProgram, network: Whole, example: Tensor) -> None:
    """Raise UserError unless the program answers as the network does for sizes that it was not traced with."""
    run, least = program.module(), 2 * network.multiple
    for batch, height, width in ((1, 1, 1), (1, least, least + 1), (3, least + 5, 2)):
        images = _noise((batch, network.channels, height, width), example.dtype)
        with torch.no_grad():
            expected, found = network(images), None
            with suppress(RuntimeError):  # which says what the program minds; that it does is enough
                found = run(images)
        if found is None or not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            raise _refusal(_asked(program, tuple(images.shape)), f"it is another one for {height}x{width} pixels")


def _noise(shape: tuple[int, ...], numbers: torch.dtype) -> Tensor:
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return (255 * noise).to(numbers) if numbers == torch.uint8 else noise.to(numbers)


def _asked(program: ExportedProgram, shape: tuple[int, ...]) -> str:
    """The statement that asked something of the sizes while tracing which is not so for images of `shape`."""
    name = program.graph_signature.user_inputs[0]
    images = next(node.meta["val"] for node in program.graph.nodes if node.name == name)
    sizes = {size.node.expr: length for size, length in zip(images.shape, shape, strict=True) if type(size) is not int}
    assertions = images.shape[2].node.shape_env.deferred_runtime_asserts.values()
    for assertion in (each for some in assertions for each in some):
        if assertion.expr.subs(sizes) == False:  # noqa: E712 (sympy's own, which `not` does not take)
            return _statement(assertion.stack.summary())
    return "an operator of it"


def _statement(stack: traceback.StackSummary) -> str:
    """The innermost line of the stack that is not torch's: "unet.py, line 12: F.interpolate(x, (32, 32))"."""
    torch_itself = str(Path(torch.__file__).parent)
    lines = [frame for frame in stack if not frame.filename.startswith(torch_itself) and frame.filename != __file__]
    if not lines:
        return "an operator of it"
    return f"{Path(lines[-1].filename).name}, line {lines[-1].lineno}: {lines[-1].line}"


def _refusal(statement: str, reason: str) -> UserError:
    found = f"it cannot be exported for images of any size, because of {statement} ({reason.splitlines()[0]:.160})"
    return UserError("the network", found, "Export another one: docs/export.md lists those that can be")
