"""A linear head on vision transformers, against timm's own features."""

import pytest
import timm
import torch
import torch.nn.functional as F

from segtrial.errors import RecipeError
from segtrial.models._init import initialise
from segtrial.models._timm import TimmViT
from segtrial.models.linear import build


@pytest.mark.parametrize("layers", [1, 4])
@torch.no_grad()
def test_scores_are_one_linear_map_of_the_last_layers_patches(layers):
    network = build(3, encoder="timm/test_vit", layers=layers).eval()
    initialise(network, seed=0)
    theirs = timm.create_model("test_vit", num_classes=0).eval()
    theirs.load_state_dict(network.encoder.body.state_dict())
    image = torch.randn(2, 3, 64, 96)  # 160 x 160 is its own size
    patches = theirs.get_intermediate_layers(image, n=layers, reshape=True, norm=True)
    features = torch.cat(patches, dim=1) / (1 + network.norm.eps) ** 0.5
    few = torch.einsum("bchw,kc->bkhw", features, network.score.weight[:, :, 0, 0])
    scores, *_ = network(image)
    expected = F.interpolate(few, scale_factor=16, mode="bilinear")
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "patch", "blocks"),
    [
        ("test_vit2", 16, 8),
        pytest.param("vit_tiny_patch16_224", 16, 12, marks=pytest.mark.slow),
        pytest.param("vit_small_patch16_dinov3", 16, 12, marks=pytest.mark.slow),
    ],
)
def test_any_plain_vision_transformer_will_do(name, patch, blocks):
    with torch.device("meta"):
        network = build(3, 4, encoder=f"timm/{name}")
        scores, *_ = network(torch.empty(2, 4, 3 * patch, 5 * patch))
    assert network.multiple == patch
    assert scores.shape == (2, 3, 3 * patch, 5 * patch)
    stages = network.encoder.stages()
    held = [id(p) for stage in stages for layer in stage for p in layer.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.encoder.parameters())
    assert len(stages) == blocks


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet10t", "it has maps at strides 2, 4, 8, 16, 32, so it is no plain vision transformer"),
        ("beit_base_patch16_224", r"timm cannot make maps.*Input height \(32\) doesn't match model \(224\)"),
    ],
)
def test_other_networks_are_refused(name, message):
    with pytest.raises(RecipeError, match=message):
        TimmViT(name)
