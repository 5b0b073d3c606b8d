"""VGG encoders against torchvision."""

import pytest
import torch
import torchvision
from torch import nn

from segtrial.models._vgg import VGG

EVERY_DEPTH = pytest.mark.parametrize("depth", [11, 13, 16, 19])


@pytest.mark.parametrize(
    ("depth", "batchnorm", "count"), [(11, False, 9_220_480), (16, False, 14_714_688), (16, True, 14_723_136)]
)
def test_parameter_count(depth, batchnorm, count):
    assert sum(p.numel() for p in VGG(depth, batchnorm=batchnorm).parameters()) == count


@EVERY_DEPTH
@pytest.mark.parametrize("batchnorm", [False, True])
@torch.no_grad()
def test_torchvisions_weights_give_torchvisions_answer(depth, batchnorm):
    torch.manual_seed(0)
    with torch.device("meta"):  # a hundred million weights of its classifier are never made
        theirs = getattr(torchvision.models, f"vgg{depth}" + "_bn" * batchnorm)().eval()
    theirs.classifier = nn.Linear(512 * 7 * 7, 10)
    for module in theirs.features.to_empty(device="cpu"):  # as of a trained network, so that every buffer matters
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    ours = VGG(depth, batchnorm=batchnorm).eval()
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert all(name.startswith("classifier.") for name in missing.unexpected_keys)
    image = torch.randn(1, 3, 96, 64)
    deepest = ours(image)[-1]
    torch.testing.assert_close(deepest, theirs.features(image), rtol=1e-5, atol=1e-5)
    logits = theirs.classifier(theirs.avgpool(deepest).flatten(1))
    torch.testing.assert_close(logits, theirs(image), rtol=1e-5, atol=1e-5)


@EVERY_DEPTH
def test_stages_hold_every_layer_with_weights_once_from_the_image_inwards(depth):
    with torch.device("meta"):
        encoder = VGG(depth, batchnorm=True)
    stages = encoder.stages()
    assert len(stages) == 5
    layers = [layer for stage in stages for layer in stage]
    assert [id(p) for layer in layers for p in layer.parameters()] == [id(p) for p in encoder.parameters()]
