"""A network and an image size -> what an image costs it: multiply-adds and memory, counted on shapes alone."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Costs:
    """Of one image in training mode, in float32; bfloat16 about halves `saved_bytes`."""

    parameters: int
    """Numbers that learn."""
    multiply_adds: int
    """Of one forward pass: convolutions, matrix products and attention."""
    saved_bytes: int
    """Maps that the forward pass keeps for the backward pass."""

    def training_bytes(self, batch: int) -> int:
        """Memory of a training step: the maps of `batch` images; and weights, their gradients, their running mean
        and two moments of the optimizer."""
        return batch * self.saved_bytes + 5 * 4 * self.parameters


def costs(core: nn.Module, image: Tensor) -> Costs:
    """What `image` (1 c h w, on the meta device as is `core`) costs; nothing is computed and no memory is taken."""
    own = {_storage(parameter) for parameter in core.parameters()} | {_storage(image)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor  # held on to, so that no other storage takes its place
        return tensor

    pair = image.expand(2, -1, -1, -1)  # batch normalisation refuses one pooled pixel of one image
    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = core.train()(pair)
    saved = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del outputs
    learning = sum(parameter.numel() for parameter in core.parameters() if parameter.requires_grad)
    return Costs(learning, counter.get_total_flops() // 4, saved // 2)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
