"""The dilated FCN against torchvision."""

import pytest
import torch
import torchvision
from torch import nn

from segtrial.models.fcn_dilated import build


def renamed(name: str) -> str:
    return (
        name.replace("backbone.", "encoder.").replace("aux_classifier.", "auxiliary.").replace("classifier.", "head.")
    )


@torch.no_grad()
def test_torchvisions_weights_give_torchvisions_answer():
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.fcn_resnet50(weights_backbone=None, num_classes=5, aux_loss=True).eval()
    for module in theirs.modules():  # statistics as of a trained network, so that every buffer matters
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)
    ours = build(5, encoder="resnet50")
    ours.load_state_dict({renamed(name): value for name, value in theirs.state_dict().items()})
    image = torch.randn(1, 3, 64, 96)
    expected = theirs(image)
    (main,) = ours.eval()(image)
    torch.testing.assert_close(main, expected["out"], rtol=1e-5, atol=1e-5)
    ours.training = True  # itself alone: its parts normalise and drop as in eval mode
    torch.testing.assert_close(ours(image)[1], expected["aux"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("auxiliary", "number"), [(True, 2), (False, 1)])
def test_the_auxiliary_scores_come_in_training_only(auxiliary, number):
    with torch.device("meta"):
        network = build(5, encoder="resnet18", auxiliary=auxiliary)
        image = torch.empty(2, 3, 64, 96)
        assert [each.shape for each in network.train()(image)] == [(2, 5, 64, 96)] * number
        assert len(network.eval()(image)) == 1


@pytest.mark.parametrize("output_stride", [8, 16])
def test_scores_are_made_at_the_output_stride(output_stride):
    seen = []
    with torch.device("meta"):
        network = build(5, encoder="resnet18", output_stride=output_stride)
        network.head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        network(torch.empty(2, 3, 64, 96))
    assert seen == [(2, 5, 64 // output_stride, 96 // output_stride)]
