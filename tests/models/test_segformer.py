"""SegFormer and its encoder against segmentation_models_pytorch and the paper's table."""

import pytest
import segmentation_models_pytorch as smp
import torch

from segtrial.models._mit import DropPath, MixTransformer
from segtrial.models.segformer import build
from tests.models.peers import pixels_as_areas

PUBLISHED = {"mit_b0": 3.8, "mit_b1": 13.7, "mit_b2": 27.5, "mit_b3": 47.3, "mit_b4": 64.1, "mit_b5": 84.7}
"""Million parameters with the 150 classes of ADE20K (paper, table 1a)."""


@pytest.mark.parametrize(("encoder", "millions"), PUBLISHED.items())
def test_parameters_are_as_many_as_the_paper_says(encoder, millions):
    with torch.device("meta"):
        network = build(150, encoder=encoder)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("name", ["mit_b0", pytest.param("mit_b2", marks=pytest.mark.slow)])
@torch.no_grad()
def test_smps_encoder_weights_give_its_maps_by_their_released_names(name):
    torch.manual_seed(0)
    theirs = smp.encoders.get_encoder(name, weights=None).eval()
    for parameter in theirs.parameters():  # biases and norms off 0 and 1
        parameter.add_(0.02 * torch.randn_like(parameter))
    ours = MixTransformer(name).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, 64, 96)
    for level, (mine, other) in enumerate(zip(ours(image), theirs(image), strict=True)):
        if level > 1:
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
        else:
            assert mine.shape == (2, 0, 64 >> level, 96 >> level)


@torch.no_grad()
def test_smps_weights_give_smps_answer():
    torch.manual_seed(0)
    theirs = smp.Segformer("mit_b0", encoder_weights=None, classes=4)
    theirs(torch.randn(2, 3, 64, 64))  # moves the running statistics off 0 and 1
    ours = build(4)
    ours.encoder.load_state_dict(theirs.encoder.state_dict())
    head = [value for name, value in theirs.state_dict().items() if not name.startswith("encoder.")]
    names = [name for name in ours.state_dict() if not name.startswith("encoder.")]
    ours.load_state_dict(dict(zip(names, head, strict=True)), strict=False)
    image = torch.randn(1, 3, 96, 64)
    with pixels_as_areas():
        expected = theirs.eval()(image)
    scores, *_ = ours.eval()(image)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


def test_stages_hold_every_parameter_once_and_can_be_taken_by_name():
    with torch.device("meta"):
        encoder = MixTransformer("mit_b1", 4)
    stages = encoder.stages()
    held = [id(p) for stage in stages for layer in stage for p in layer.parameters()]
    assert sorted(held) == sorted(id(p) for p in encoder.parameters())
    assert len(stages) == 4


def test_paths_are_dropped_for_whole_images_at_a_rate_that_grows_to_a_tenth():
    encoder = MixTransformer("mit_b0")
    rates = [module.rate for module in encoder.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([i / 70 for i in range(8)])
    torch.manual_seed(0)
    dropped = DropPath(0.25).train()(torch.ones(4000, 2, 1, 3))
    assert all(len(image.unique()) == 1 for image in dropped[:50])
    assert dropped.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(dropped), dropped)
