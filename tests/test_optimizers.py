"""Optimizers against torch's own and against closed forms; Muon against linear algebra."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segtrial import models, optimizers
from segtrial.errors import UnknownName
from segtrial.optimizers import (
    DEFAULTS,
    REST_DECAY,
    REST_LR,
    as_matrix,
    build,
    hidden_weights,
    orthogonal,
)
from segtrial.schedules import learning_rate_factor

EVERY_OPTIMIZER = pytest.mark.parametrize("name", sorted(DEFAULTS))


class Small(nn.Module):
    """One layer of each kind that Muon must tell apart."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.one = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.wide = nn.Conv2d(8, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.up = nn.ConvTranspose2d(16, 6, 2, 2)
        self.norm = nn.BatchNorm2d(6)
        self.auxiliary = nn.Conv2d(6, 4, 1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, images):
        x = self.grouped(self.wide(self.two(F.relu(self.one(F.relu(self.stem(images)))))))
        x = F.relu(self.norm(self.up(x)))
        return self.head(x) + self.auxiliary(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small().to(memory_format=torch.channels_last)


def train(network, optimizer, steps, start=0):
    """`steps` steps on a batch that depends only on the step's number."""
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        images = torch.rand(2, 3, 6, 8, generator=generator)
        target = torch.randint(0, 4, (2, 12, 16), generator=generator)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(images), target).backward()
        optimizer.step()


def names_of(network, parameters):
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, parameter in network.named_parameters() if id(parameter) in wanted}


@EVERY_OPTIMIZER
def test_norms_and_biases_are_never_decayed_and_everything_is_in_one_group(name, network):
    groups = build(name, network, weight_decay=0.5).param_groups
    flat = {n for n, p in network.named_parameters() if p.ndim == 1}
    undecayed = [group for group in groups if group["weight_decay"] == 0]
    assert set().union(*(names_of(network, group["params"]) for group in undecayed)) == flat
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(members) == sorted(id(parameter) for parameter in network.parameters())


@EVERY_OPTIMIZER
def test_a_step_without_a_gradient_shrinks_weights_and_leaves_norms_and_biases_bit_for_bit(name, network):
    optimizer = build(name, network, lr=0.1, weight_decay=0.5)
    before = {key: parameter.detach().clone() for key, parameter in network.named_parameters()}
    for _ in range(2):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    for key, parameter in network.named_parameters():
        if parameter.ndim == 1:
            assert torch.equal(parameter, before[key]), key
        else:
            assert parameter.norm() < before[key].norm(), key


@pytest.mark.parametrize("model", models.names())
def test_in_every_network_what_is_decayed_is_the_weights_of_layers(model):
    """By the kind of the layer, where the optimizers go by the number of dimensions."""
    with torch.device("meta"):
        core = models.build(model, 3)
    norms = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
    layers = [(place, module) for place, module in core.named_modules() if not isinstance(module, norms)]
    weights = {id(p) for _, layer in layers for key, p in layer.named_parameters(recurse=False) if key == "weight"}
    rest = {id(p) for p in core.parameters()} - weights
    groups = build("adamw", core, weight_decay=0.5).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert weights <= decayed
    names = {id(p): key for key, p in core.named_parameters()}
    others = {names[key] for key in decayed & rest}
    assert all("pos_embed" in key or "token" in key for key in others), others  # a transformer's codes are no biases


PEERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.8, nesterov=True),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.05, betas=(0.8, 0.999)),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.05, betas=(0.8, 0.999)),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.05, momentum=0.8),
}


@pytest.mark.parametrize("name", PEERS)
def test_torchs_own_optimizers_get_what_was_asked_for(name, network):
    twin = copy.deepcopy(network)
    matrices = [p for p in twin.parameters() if p.ndim > 1]
    vectors = [p for p in twin.parameters() if p.ndim == 1]
    peer = PEERS[name]([{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}])
    train(network, build(name, network, lr=0.05, weight_decay=0.3, momentum=0.8), 3)
    train(twin, peer, 3)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@EVERY_OPTIMIZER
def test_the_first_rate_is_remembered_and_is_the_default_unless_given(name, network):
    for given, expected in ((None, DEFAULTS[name].lr), (0.25, 0.25)):
        groups = build(name, network, lr=given).param_groups
        assert groups[0]["initial_lr"] == groups[0]["lr"] == expected
        assert all(group["initial_lr"] == group["lr"] for group in groups)


@EVERY_OPTIMIZER
def test_factors_make_groups_of_their_own_rates_and_ones_change_nothing(name, network):
    plain = build(name, network, weight_decay=0.5).param_groups
    ones = build(name, network, weight_decay=0.5, factors=dict.fromkeys(network.parameters(), 1.0)).param_groups
    assert [[id(p) for p in g["params"]] for g in plain] == [[id(p) for p in g["params"]] for g in ones]
    assert [(g["lr"], g["weight_decay"]) for g in plain] == [(g["lr"], g["weight_decay"]) for g in ones]

    factors = {network.stem.weight: 0.5, network.one.weight: 0.5, network.two.weight: 0.25, network.two.bias: 0.25}
    cut = build(name, network, weight_decay=0.5, factors=factors).param_groups
    was = {id(p): (g["lr"], g["weight_decay"]) for g in plain for p in g["params"]}
    for group in cut:
        assert group["initial_lr"] == group["lr"]
        for parameter in group["params"]:
            rate, decay = was[id(parameter)]
            assert (group["lr"], group["weight_decay"]) == (rate * factors.get(parameter, 1.0), decay)
    assert sum(len(group["params"]) for group in cut) == len(was)
    kinds = [(group["lr"], group["weight_decay"], group.get("orthogonal")) for group in cut]
    assert len(kinds) == len(set(kinds))  # equal ones are together


@EVERY_OPTIMIZER
def test_a_step_is_as_much_shorter_as_its_factor(name, network):
    twin = copy.deepcopy(network)
    options = {"lr": 0.5, "weight_decay": 0.0, "momentum": 0.0, "precision": torch.float32}
    before = [p.detach().clone() for p in network.parameters()]
    train(network, build(name, network, **options), 1)
    train(twin, build(name, twin, **options, factors=dict.fromkeys(twin.parameters(), 0.25)), 1)
    for old, whole, part in zip(before, network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(part - old, 0.25 * (whole - old), rtol=1e-5, atol=1e-6)


@EVERY_OPTIMIZER
def test_what_has_no_gradient_yet_waits_without_a_state(name, network):
    early = network.one.weight.detach().clone()
    thawed = [network.one.weight, network.stem.weight]
    optimizer = build(name, network, factors={network.one.weight: 0.5})
    for parameter in thawed:
        parameter.requires_grad_(False)
    train(network, optimizer, 2)
    assert torch.equal(network.one.weight, early)
    assert not any(optimizer.state.get(parameter) for parameter in thawed)
    for parameter in thawed:
        parameter.requires_grad_(True)
    train(network, optimizer, 1, start=2)
    assert not torch.equal(network.one.weight, early)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_looks_ahead_if_asked_and_where_there_is_momentum(nesterov, momentum):
    """By hand, for gradients 1 and 3: v = g, then .9 + 3; the step is v, or g + momentum v with Nesterov."""
    layer = nn.Linear(1, 1, bias=False)
    optimizer = build("sgd", layer, lr=0.1, weight_decay=0.0, momentum=momentum, nesterov=nesterov)
    speed, expected = 0.0, layer.weight.item()
    for gradient in (1.0, 3.0):
        layer.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        speed = momentum * speed + gradient
        expected -= 0.1 * (gradient + momentum * speed if nesterov else speed)
        assert layer.weight.item() == pytest.approx(expected, abs=1e-6)


@EVERY_OPTIMIZER
def test_a_frozen_parameter_is_left_alone(name, network):
    network.one.weight.requires_grad_(False)
    before = network.one.weight.clone()
    optimizer = build(name, network)
    train(network, optimizer, 2)
    assert torch.equal(network.one.weight, before)
    assert all(parameter.requires_grad for group in optimizer.param_groups for parameter in group["params"])


@EVERY_OPTIMIZER
def test_a_quadratic_is_lowered_to_nearly_nothing(name):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(6, 32, bias=False), nn.Linear(32, 32, bias=False), nn.Linear(32, 3))
    inputs, wanted = torch.eye(6), torch.randn(6, 3)
    optimizer = build(name, network, weight_decay=0.0, precision=torch.float32)
    first = F.mse_loss(network(inputs), wanted).item()
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor("cosine", step / 400)
        optimizer.zero_grad()
        F.mse_loss(network(inputs), wanted).backward()
        optimizer.step()
    assert F.mse_loss(network(inputs), wanted).item() < 0.05 * first


@EVERY_OPTIMIZER
def test_a_restored_run_continues_with_the_same_bits(name, network):
    optimizer = build(name, network)
    train(network, optimizer, 3)
    weights = {key: value.clone().contiguous() for key, value in network.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    for entry in state["state"].values():  # files store tensors without their layout in memory
        entry.update({key: value.contiguous() for key, value in entry.items() if value is not None})
    train(network, optimizer, 3, start=3)

    again = Small().to(memory_format=torch.channels_last)
    again.load_state_dict(weights)
    restored = build(name, again)
    restored.load_state_dict(state)
    train(again, restored, 3, start=3)
    for (key, expected), found in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(found, expected), key


@EVERY_OPTIMIZER
def test_every_state_entry_is_a_tensor(name, network):
    optimizer = build(name, network)
    train(network, optimizer, 1)
    values = [value for state in optimizer.state.values() for value in state.values() if value is not None]
    assert all(isinstance(value, torch.Tensor) for value in values)


def test_an_unknown_optimizer_lists_the_known_ones(network):
    with pytest.raises(UnknownName, match=r"optimizer 'moun'.*Did you mean 'muon'.*adam, adamw, muon, rmsprop, sgd"):
        build("moun", network)


def test_muon_takes_every_ungrouped_layer_between_the_ends(network):
    assert names_of(network, hidden_weights(network)) == {"one.weight", "two.weight", "wide.weight", "up.weight"}


def test_a_weight_in_two_places_is_taken_once():
    shared = nn.Linear(5, 5)
    network = nn.Sequential(nn.Linear(3, 5), shared, shared, nn.Linear(5, 2))
    assert len(hidden_weights(network)) == 1


def test_a_network_of_ends_alone_is_left_to_adamw():
    network = nn.Sequential(nn.Conv2d(3, 4, 1))
    assert [group["orthogonal"] for group in build("muon", network).param_groups] == [False, False]


def test_what_muon_leaves_moves_as_torch_adamw_moves_it(network):
    twin = copy.deepcopy(network)
    optimizer = build("muon", network, lr=0.02, weight_decay=0.3, momentum=0.8)
    hidden = {id(weight) for weight in hidden_weights(twin)}
    rest = [parameter for parameter in twin.parameters() if id(parameter) not in hidden]
    peer = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.3 * REST_DECAY},
            {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=0.02 * REST_LR,
        betas=(0.8, 0.99),
    )
    for step in range(4):
        train(network, optimizer, 1, start=step)
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            theirs.grad = ours.grad
        peer.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        if id(theirs) not in hidden:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_muon_moves_a_matrix_as_torch_muon_does():
    torch.manual_seed(3)
    inner = nn.Linear(12, 20, bias=False)
    network = nn.Sequential(nn.Linear(4, 12), inner, nn.Linear(20, 3))
    twin = nn.Parameter(inner.weight.detach().clone())
    optimizer = build("muon", network, lr=0.1, weight_decay=0.2, momentum=0.9)
    peer = torch.optim.Muon([twin], lr=0.1, weight_decay=0.2, momentum=0.9, ns_steps=optimizers.ITERATIONS)
    for _ in range(3):
        inner.weight.grad = torch.randn(20, 12)
        twin.grad = inner.weight.grad.clone()
        optimizer.step()
        peer.step()
    torch.testing.assert_close(inner.weight, twin, rtol=0, atol=3e-3)  # both multiply in bfloat16


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 30), (2, 40, 12)], ids=str)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_orthogonal_moves_singular_values_near_one_and_keeps_the_vectors(shape, precision):
    torch.manual_seed(0)
    count, rows, columns = shape
    small = min(rows, columns)
    left = torch.linalg.qr(torch.randn(count, rows, small))[0]
    right = torch.linalg.qr(torch.randn(count, columns, small))[0]
    matrices = left * torch.linspace(0.2, 3, small) @ right.mT  # condition 15
    found = orthogonal(matrices.to(precision), 5).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    aligned = left.mT @ found @ right  # diagonal if the singular vectors are kept
    off_diagonal = aligned - torch.diag_embed(torch.diagonal(aligned, dim1=1, dim2=2))
    assert off_diagonal.abs().max() < (1e-4 if precision == torch.float32 else 0.05)


def test_orthogonal_leaves_a_zero_matrix_at_zero():
    assert torch.equal(orthogonal(torch.zeros(1, 4, 6)), torch.zeros(1, 4, 6))


def test_a_convolution_moves_as_its_matrix_would():
    torch.manual_seed(5)
    wide = nn.Conv2d(6, 12, 3)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), wide, nn.Conv2d(12, 2, 1)).to(memory_format=torch.channels_last)
    before = wide.weight.detach().clone()
    wide.weight.grad = torch.randn_like(before)
    matrix = as_matrix(wide.weight.grad)
    build("muon", network, lr=0.5, weight_decay=0.0, momentum=0.0, precision=torch.float32).step()
    moved = as_matrix((before - wide.weight).detach())
    assert matrix.shape == (12, 54)
    torch.testing.assert_close(moved, 0.5 * orthogonal(matrix[None])[0], rtol=1e-4, atol=1e-5)


def test_a_tall_matrix_moves_further_by_the_root_of_its_shape():
    tall = nn.Linear(4, 16, bias=False)
    network = nn.Sequential(nn.Linear(3, 4), tall, nn.Linear(16, 2))
    before = tall.weight.detach().clone()
    tall.weight.grad = torch.linalg.qr(torch.randn(16, 4))[0]
    build("muon", network, lr=0.1, weight_decay=0.0, momentum=0.0, precision=torch.float32).step()
    moved = torch.linalg.svdvals((before - tall.weight).detach())
    assert moved.min() > 0.1 * 2 * 0.7
    assert moved.max() < 0.1 * 2 * 1.25


def test_decay_shrinks_hidden_weights_apart_from_the_gradient(network):
    before = network.one.weight.detach().clone()
    network.one.weight.grad = torch.zeros_like(before)
    build("muon", network, lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(network.one.weight.detach(), before * (1 - 0.5 * 0.1))


def test_matrices_too_wide_both_ways_are_left_to_adamw():
    layers = [nn.Linear(4, 8), nn.Linear(8, 1100), nn.Linear(1100, 1100), nn.Linear(1100, 1024), nn.Linear(1024, 3)]
    taken = hidden_weights(nn.Sequential(*layers))
    assert [tuple(weight.shape) for weight in taken] == [(1100, 8), (1024, 1100)]
