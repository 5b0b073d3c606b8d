"""Names -> recipes as plain trees: three for any data, and what five reports trained; `--recipe NAME`, `preset: NAME`.

R0 to R4 are student reports on segmentation, classification and colouring. Each preset of theirs quotes the sentence
that it follows and says where it must differ. What no sentence says is as plain as can be: whole images, no
augmentation, equal class weights, a constant rate, the last weights. None knows its data: give it with --data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A recipe by name: `tree` holds what differs from the defaults of its task."""

    about: str
    tree: Mapping[str, Any]


_UNCHANGED = {"flip_horizontal": 0, "brightness": 0, "contrast": 0, "color": 0, "shift": 0}


def _plain(model: str, optimizer: Mapping[str, Any], batch: int, epochs: int, **fields: Any) -> dict[str, Any]:
    """What a report trained, without anything that it does not speak of."""
    plain = {
        "model": model,
        "epochs": epochs,
        "phases": [{"share": 1, "batch": batch, "crop": 1, "scale": [1, 1]}],
        "augment": _UNCHANGED,
        "loss": {"name": "cross_entropy", "class_weights": "none"},
        "optimizer": optimizer,
        "schedule": {"name": "constant", "warmup": 0},
        "ema": 0,
        "keep": "last",
        "norm_statistics": "running",
    }
    return plain | fields


_L1 = {"name": "l1", "class_weights": "none"}
_ADAM = {"name": "adam", "lr": 0.001}
_SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0, "nesterov": False}

# R0: "I have trained the whole network at once [...] I have utilized two optimizers, SGD and Adam". It says neither
# rate, nor batch, nor epochs, and that they are not the paper's. Ours: Adam's usual rate; for SGD a tenth of the
# paper's .1, lest it diverge without normalisation; the paper's batch of 12; 30 epochs.
_R0 = {
    "r0-segnet": Preset(
        "SegNet without batch normalisation, by Adam (R0, part A).", _plain("segnet:batchnorm=false", _ADAM, 12, 30)
    ),
    "r0-segnet-sgd": Preset(
        "The same SegNet by SGD, to compare with Adam (R0, part A).", _plain("segnet:batchnorm=false", _SGD, 12, 30)
    ),
    # "the architecture of Part A has been enriched with Batch-Normalization (BN) layers".
    "r0-segnet-bn": Preset("SegNet with batch normalisation, by Adam (R0, part B).", _plain("segnet", _ADAM, 12, 30)),
}

# R1: "the Adam optimizer proved to be better [...] a low learning rate (0.0001), and [...] batch size 64". Its 18-layer
# network is R3's, of the same homework; for 32x32 pixels, hence the small stem. Epochs are not said: 20, as R3.
# Of segmentation and colouring it says the networks only: the same optimizer, batches of 16, 20 epochs, L1 as R3. To
# carry a classifier's weights into the FCN, train it with model=classifier, whose stem is the FCN's.
_R1_ADAM = {"name": "adam", "lr": 0.0001}
_R1 = {
    "r1-classifier": Preset(
        "ResNet-18 for small images, by Adam at .0001 and batches of 64 (R1, task 1).",
        _plain("classifier:stem=cifar", _R1_ADAM, 64, 20, task="classification"),
    ),
    "r1-fcn": Preset(
        "FCN-32s on ResNet-18 (R1, task 2).",
        _plain("fcn:stride=32,encoder=resnet18", _R1_ADAM, 16, 20),
    ),
    # "The U-Net, with its skip connections and data augmentation": mirrored images stand for the latter.
    "r1-unet": Preset(
        "U-Net, with images mirrored at random (R1, task 2).",
        _plain("unet", _R1_ADAM, 16, 20, augment={**_UNCHANGED, "flip_horizontal": 0.5}),
    ),
    # "the high resolution disappears when we omit the skip connections for the colouring problem".
    "r1-colors": Preset(
        "U-Net that colours grey photos (R1, task 3).",
        _plain("unet", _R1_ADAM, 16, 20, task="colorization_rgb", loss=_L1),
    ),
    "r1-colors-no-skips": Preset(
        "The same without skip connections (R1, task 3).",
        _plain("unet:skips=false", _R1_ADAM, 16, 20, task="colorization_rgb", loss=_L1),
    ),
}

# R2: "I just used an Adam Optimizer and Binary Cross Entropy with logits as our loss function", "the best number of
# learning rate is 0.001", "I did only 30 epochs for each training", "the best choice is ResNet34", beside "Unet11 and
# Unet16". That loss makes each class of its "multi-class face segmentation" a label of its own; for person or not, add
# task=binary. The batch is not said: 8. Its encoders may have started from ImageNet: encoder.weights=imagenet.
_R2 = {
    f"r2-{name}": Preset(
        f"U-Net on {encoder}, each class by binary cross-entropy (R2).",
        _plain(
            f"ternausnet:encoder={option}", _ADAM, 8, 30, task="multilabel",
            loss={"name": "bce_with_logits", "class_weights": "none"},
        ),
    )
    for name, encoder, option in (
        ("unet34", "ResNet-34", "resnet34"), ("unet11", "VGG-11", "vgg11"), ("unet16", "VGG-16", "vgg16"),
    )
}  # fmt: skip

# R3, section 2: "an initial learning rate of 0.1, a regularization parameter of 1e-5, an SGD optimizer, and a batch
# size of 128 [...] 20 epochs", "Kaiming initialization", "a scheduler that reduces the learning rate with 0.1 when the
# loss plateaus". Momentum is not said: .9, as the ResNet paper. Our plateau is the score's on val, not the loss's.
_R3_SGD = {"name": "sgd", "lr": 0.1, "weight_decay": 1e-5, "momentum": 0.9, "nesterov": False}
_PLATEAU = {"schedule": {"name": "plateau", "factor": 0.1, "patience": 2, "warmup": 0}, "evaluations": 20}
# Section 3: "1x1 convolution [...] batch normalization [...] transposed convolution", against U-Net, both by cross
# entropy. Section 4: "we are using the L1 loss", with and without skips. Neither says an optimizer: Adam at .001, 16.
_R3 = {
    "r3-classifier": Preset(
        "ResNet-18 for small images, by SGD at .1 that falls on plateaus (R3, section 2).",
        _plain("classifier:stem=cifar", _R3_SGD, 128, 20, task="classification", init="kaiming", **_PLATEAU),
    ),
    "r3-fcn": Preset(
        "FCN-32s on ResNet-18 with normalised scores and learned enlarging (R3, section 3).",
        _plain("fcn:stride=32,encoder=resnet18,score_batchnorm=true,upsampling=learned", _ADAM, 16, 20),
    ),
    "r3-unet": Preset("U-Net, to compare with FCN-32s (R3, section 3).", _plain("unet", _ADAM, 16, 20)),
    "r3-colors": Preset(
        "U-Net that colours grey photos by L1 (R3, section 4).",
        _plain("unet", _ADAM, 16, 20, task="colorization_rgb", loss=_L1),
    ),
    "r3-colors-no-skips": Preset(
        "The same without skip connections (R3, section 4).",
        _plain("unet:skips=false", _ADAM, 16, 20, task="colorization_rgb", loss=_L1),
    ),
}

# R4: "the model is trained for 20 epochs with a learning rate of 0.001", "horizontal and vertical flips, random
# rotations, and colour jittering", on 960x720 pixels. Its optimizer is not said (Adam stands first in its list), nor
# the batch (4), nor the ranges of its augmentation. Crops are at most 160,000 pixels, as by default, and no street is
# flipped upside down. Its random split lets frames of one clip into both parts; ours is the data's own, by groups.
_R4_AUGMENT = {"flip_horizontal": 0.5, "rotate": 10, "brightness": 0.2, "contrast": 0.2, "color": 0.1}
_R4 = {
    # "FCN-16s, FCN-8s".
    "r4-fcn": Preset(
        "FCN-8s on VGG-16, with flips, rotations and colour jitter (R4).",
        _plain("fcn:encoder=vgg16", _ADAM, 4, 20, augment=_R4_AUGMENT),
    ),
    "r4-unet": Preset(
        "U-Net, with flips, rotations and colour jitter (R4).", _plain("unet", _ADAM, 4, 20, augment=_R4_AUGMENT)
    ),
    # "The Deeplab model looks to be the most accurate", "DeepLab v3 ResNet50".
    "r4-deeplab": Preset(
        "DeepLab v3 on ResNet-50, with flips, rotations and colour jitter (R4).",
        _plain("deeplabv3:encoder=resnet50", _ADAM, 4, 20, augment=_R4_AUGMENT),
    ),
}

PRESETS: Mapping[str, Preset] = {
    "quick": Preset(
        "A first look in two minutes, at half the resolution.",
        {
            "minutes": 2,
            "phases": [
                {"share": 0.6, "batch": 16, "crop": 0.5, "scale": [0.4, 0.6]},
                {"share": 0.4, "batch": 8, "crop": 0.6, "scale": [0.5, 0.75]},
            ],
            "evaluations": 2,
        },
    ),
    "balanced": Preset("The defaults: ten minutes, low resolution first, then the images' own.", {}),
    "thorough": Preset(
        "An hour, with more augmentation against learning the images by heart and larger crops at the end.",
        {
            "minutes": 60,
            "crop_pixels": 360_000,
            "augment": {"rotate": 5, "color": 0.15},
            "ema": 0.999,
            "evaluations": 12,
        },
    ),
    **_R0,
    **_R1,
    **_R2,
    **_R3,
    **_R4,
}
"""Every preset by its name; sentences about reports are quoted above."""
