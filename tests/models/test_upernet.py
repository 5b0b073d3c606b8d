"""UPerNet against segmentation_models_pytorch."""

import segmentation_models_pytorch as smp
import torch
from torch import nn

from segtrial.models._blocks import resize
from segtrial.models.upernet import build
from tests.models.peers import pixels_as_areas


@torch.no_grad()
def test_smps_weights_give_smps_answer_once_its_layer_norms_are_gone():
    torch.manual_seed(0)
    theirs = smp.UPerNet("resnet34", encoder_weights=None, classes=4)
    theirs.decoder.feature_norms = nn.ModuleList(nn.Identity() for _ in theirs.decoder.feature_norms)
    theirs(torch.randn(2, 3, 64, 64))  # moves the running statistics off 0 and 1
    theirs = theirs.double()
    ours = build(4, encoder="resnet34", width=256).double()
    values = list(theirs.state_dict().values())
    assert [v.shape for v in values] == [v.shape for v in ours.state_dict().values()]  # same order, too
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    image = torch.randn(1, 3, 96, 64, dtype=torch.float64)
    with pixels_as_areas():
        expected = theirs.eval()(image)
    scores, *_ = ours.eval()(image)
    assert scores.shape == (1, 4, 24, 16)
    torch.testing.assert_close(resize(scores, like=image), expected, rtol=1e-5, atol=1e-5)


def test_auxiliary_scores_come_from_stride_16_in_train_mode_only():
    with torch.device("meta"):
        network = build(3, encoder="resnet18", width=8, auxiliary=True)
        image = torch.empty(2, 3, 64, 96)
        assert [tuple(s.shape) for s in network.train()(image)] == [(2, 3, 16, 24), (2, 3, 4, 6)]
        assert len(network.eval()(image)) == 1
        assert len(build(3, encoder="resnet18", width=8).train()(image)) == 1
