"""First weights: He's variance, and nothing but (seed, parameter name) decides them."""

import pytest
import torch
from torch import nn

from segtrial.models._blocks import ScoreConv, ZeroScaleNorm
from segtrial.models._init import initialise

# layer, variance by hand: 2 / fan out, where fan out counts what one input value is multiplied into; .02 squared
# for linear maps, see BERT and every vision transformer after it
BY_HAND = [
    (nn.Conv2d(32, 64, 3), 2 / (64 * 9)),
    (nn.Conv2d(64, 64, 3, groups=4), 2 / (16 * 9)),
    (nn.ConvTranspose2d(64, 32, 2, stride=2), 2 / (32 * 4)),
    (nn.Linear(100, 200), 0.02**2),
    (ScoreConv(128, 64, 1), 1 / 128),
]


@pytest.mark.parametrize(("layer", "variance"), BY_HAND, ids=lambda value: type(value).__name__)
def test_weights_have_the_variance_worked_out_by_hand(layer, variance):
    initialise(layer, seed=0)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.05)
    assert abs(layer.weight.mean().item()) < 0.05 * variance**0.5
    assert not layer.bias.any()


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(32, 64, 3), nn.ConvTranspose2d(64, 32, 2, stride=2), nn.Linear(100, 200)],
    ids=lambda layer: type(layer).__name__,
)
def test_xavier_is_torchs(layer):
    initialise(layer, 0, "xavier")
    torch.manual_seed(0)
    peer = nn.init.xavier_normal_(torch.empty_like(layer.weight))
    assert layer.weight.std().item() == pytest.approx(peer.std().item(), rel=0.05)
    assert not layer.bias.any()


def test_xavier_scales_the_same_draws_and_leaves_layers_with_rules_of_their_own():
    """Two groups of 64 channels: an output is made of 64 x 9 weights, an input goes into 32 x 9."""
    layers = nn.ModuleDict({"grouped": nn.Conv2d(128, 64, 3, groups=2), "scores": ScoreConv(8, 4, 1)})
    initialise(layers, 5)
    he = {name: value.clone() for name, value in layers.state_dict().items()}
    initialise(layers, 5, "xavier")
    ratio = ((2 / (64 * 9 + 32 * 9)) / (2 / (32 * 9))) ** 0.5
    torch.testing.assert_close(layers["grouped"].weight.detach(), he["grouped.weight"] * ratio)
    assert torch.equal(layers["scores"].weight, he["scores.weight"])


def test_relu_layers_keep_the_variance_of_gradients():
    layers = nn.Sequential(*(nn.Sequential(nn.Conv2d(512, 512, 1), nn.ReLU()) for _ in range(10)))
    initialise(layers, seed=0)
    torch.manual_seed(0)
    x, sent = torch.randn(64, 512, 1, 1, requires_grad=True), torch.randn(64, 512, 1, 1)
    received = torch.autograd.grad(layers(x), x, sent)[0]
    assert 0.5 < received.var() / sent.var() < 2


def test_norms_start_neutral_and_forget_what_they_saw():
    norms = nn.ModuleList([nn.BatchNorm2d(4), ZeroScaleNorm(4), nn.GroupNorm(2, 4)])
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm(torch.randn(2, 4, 3, 3))
    initialise(norms, seed=0)
    assert [norm.weight.unique().tolist() for norm in norms] == [[1], [0], [1]]
    assert not any(norm.bias.any() for norm in norms)
    batch_norm = norms[0]
    assert not batch_norm.running_mean.any()
    assert (batch_norm.running_var == 1).all()
    assert batch_norm.num_batches_tracked == 0


def test_a_zero_scale_norm_starts_at_zero_by_itself():
    assert not ZeroScaleNorm(4).weight.any()


def two_layers(order: str) -> nn.Module:
    parts = {"a": nn.Conv2d(3, 4, 3), "b": nn.Linear(5, 6)}
    return nn.ModuleDict({name: parts[name] for name in order})


def test_order_of_construction_changes_nothing():
    first, second = two_layers("ab"), two_layers("ba")
    initialise(first, seed=3)
    initialise(second, seed=3)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_name_and_seed_each_matter():
    layers = nn.ModuleDict({"a": nn.Linear(5, 5), "b": nn.Linear(5, 5)})
    initialise(layers, seed=0)
    before = layers["a"].weight.clone()
    assert not torch.equal(before, layers["b"].weight)
    initialise(layers, seed=1)
    assert not torch.equal(before, layers["a"].weight)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    layer = nn.ModuleList([ZeroScaleNorm(3)])
    initialise(layer, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_without_a_rule_is_refused():
    with pytest.raises(TypeError, match=r"0\.weight: Embedding has no first weights\. Add a rule"):
        initialise(nn.Sequential(nn.Embedding(3, 4)), seed=0)
