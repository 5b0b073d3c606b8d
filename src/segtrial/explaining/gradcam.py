"""A network, an image and targets -> Seg-Grad-CAM: where a layer's maps speak for a class in a region.

Vinogradova, Dibrov, Myers. Towards interpretable semantic segmentation via gradient-weighted class activation mapping.
AAAI 2020. https://arxiv.org/abs/2002.11434, after Selvaraju et al. Grad-CAM. ICCV 2017.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.explaining.layers import channels_first, cut_at
from segtrial.explaining.targets import Target, class_score
from segtrial.models._whole import Whole
from segtrial.tasks import Task


@dataclass(frozen=True, eq=False)
class Cam:
    """The map at the size of the image, 0 to 1 (its `peak`, in units of score, is 1); 0 where nothing speaks for it.

    `size` (h, w) is the layer's own, from which it was enlarged.
    """

    map: Float32[np.ndarray, "h w"]
    peak: float
    size: tuple[int, int]


def grad_cam(
    network: Whole, task: Task, image: Float[Tensor, "c h w"], targets: Sequence[Target], layer: str
) -> list[Cam]:
    """L = ReLU(sum_k a_k A_k) for each target, where A are the maps of `layer` and a_k is the mean over the places of
    A_k of the gradient of the class's mean score in the target's region.

    The paper sums the scores of the region: the mean differs by a factor, and the map is shown relative to its peak.
    `layer` is a name below the network's core; of a layer that makes several maps (an encoder) the last is taken that
    the score depends on. Raises RecipeError for a layer that there is not, that this network does not ask, or whose
    output is no map.
    """
    height, width = image.shape[-2:]
    padded = network.padded_size(height, width)
    with cut_at(network.core, layer) as leaves, _frozen(network), torch.enable_grad():
        scores = network(image[None])
        if not leaves:
            raise RecipeError("--layer", f"{layer!r} is never asked by this network", "Choose a layer inside it")
        found = [_cam(leaves, class_score(task, scores, target)[0], padded, layer) for target in targets]
    return [_shown(cam, padded, (height, width)) for cam in found]


def _cam(leaves: Sequence[Tensor], score: Tensor, padded: tuple[int, int], layer: str) -> Float32[Tensor, "H W"]:
    if not score.requires_grad:
        raise RecipeError("--layer", f"no score depends on {layer!r}", "Choose a layer nearer to the scores' path")
    grads = torch.autograd.grad(score, leaves, retain_graph=True, allow_unused=True)
    used = [(leaf, grad) for leaf, grad in zip(leaves, grads, strict=True) if grad is not None and leaf.numel()]
    maps, grad = (channels_first(each, padded, layer)[0] for each in used[-1])
    return (grad.mean((1, 2))[:, None, None] * maps).sum(0).relu().detach().float()


def _shown(cam: Float32[Tensor, "H W"], padded: tuple[int, int], size: tuple[int, int]) -> Cam:
    peak = float(cam.max())
    enlarged = F.interpolate(cam[None, None], padded, mode="bilinear", align_corners=False)[0, 0, : size[0], : size[1]]
    relative = enlarged / peak if peak > 0 else torch.zeros_like(enlarged)
    return Cam(relative.cpu().numpy(), peak, (cam.shape[0], cam.shape[1]))


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Parameters ask for no gradients for a while: only maps do, which takes half the time and memory."""
    asking = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
