"""The classifier against torchvision, and what a segmenter can take over from it."""

import pytest
import torch
import torchvision
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models._init import initialise
from segtrial.models._whole import Whole
from segtrial.models.classifier import build


@pytest.mark.parametrize(
    ("encoder", "expected"), [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)]
)
def test_parameter_count_for_the_thousand_classes_of_imagenet(encoder, expected):
    """Not in counts.csv: a mask holds 255 classes, so only the file itself, not the registry, builds more."""
    with torch.device("meta"):
        assert sum(p.numel() for p in build(1000, encoder=encoder).parameters()) == expected


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "resnet50"])
@torch.no_grad()
def test_torchvisions_weights_give_torchvisions_logits(encoder):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, encoder)(num_classes=7).eval()
    for module in theirs.modules():  # statistics as of a trained network, so that every buffer matters
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)
    weights = {name if name.startswith("fc.") else f"encoder.{name}": v for name, v in theirs.state_dict().items()}
    weights["fc.weight"] = weights["fc.weight"][..., None, None]
    ours = build(7, encoder=encoder).eval()
    ours.load_state_dict(weights)
    image = torch.randn(2, 3, 64, 96)
    torch.testing.assert_close(ours(image)[0][..., 0, 0], theirs(image), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_an_image_has_one_answer_everywhere():
    core = build(4)
    initialise(core, seed=0)
    network = Whole(core.eval(), torch.full((3,), 0.4), torch.full((3,), 0.25))
    scores = network(torch.rand(2, 3, 50, 70))
    assert scores.shape == (2, 4, 50, 70)
    torch.testing.assert_close(scores, scores[..., :1, :1].expand_as(scores), rtol=0, atol=1e-6)
    assert not torch.equal(scores[0], scores[1])


@pytest.mark.parametrize(("stem", "multiple", "deepest"), [("imagenet", 32, (2, 3)), ("cifar", 8, (8, 12))])
def test_images_are_multiples_of_the_deepest_stride(stem, multiple, deepest):
    seen = []
    with torch.device("meta"):
        network = build(10, stem=stem)
        network.encoder.register_forward_hook(lambda module, inputs, maps: seen.append(maps[-1].shape[2:]))
        network(torch.empty(1, 3, 64, 96))
    assert network.multiple == multiple
    assert seen == [deepest]


def test_a_segmenter_has_every_tensor_of_the_classifiers_encoder():
    with torch.device("meta"):
        ours = build(10).encoder.state_dict()
        theirs = models.build("fcn", 2, encoder="resnet18").encoder.state_dict()
    assert {name: v.shape for name, v in ours.items()} == {name: v.shape for name, v in theirs.items()}


@torch.no_grad()
def test_dropout_drops_features_in_training_only():
    network = build(2, dropout=0.9)
    initialise(network, seed=0)
    seen = []
    network.fc.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network.train()(torch.rand(2, 3, 64, 64))
    network.eval()(torch.rand(2, 3, 64, 64))
    dropped = [(each == 0).float().mean() for each in seen]
    assert dropped[0] > 0.8
    assert dropped[1] < 0.5


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_an_impossible_dropout_is_refused(rate):
    with pytest.raises(RecipeError, match=f"option dropout: {rate}. Choose at least 0 and less than 1"):
        models.build("classifier", 2, dropout=rate)
