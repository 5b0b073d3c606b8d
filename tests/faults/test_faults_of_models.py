"""Whatever is wrong with a model file: exit code 2, the place, what was found, the fix, and no code of it is run."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from tests.faults.world import Fault, fault, refused

MODELS: dict[str, tuple[Fault, str]] = {}


class _Touches:
    """Unpickled, it makes a file: the proof that code was run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@fault(
    MODELS,
    r"model\.pt: not a safetensors file but a (pickle|zip archive).* can run code when opened.*Give a \.safetensors",
)
def pickle_for_a_model(world):
    return world.evaluate(world.file("model.pt", pickle.dumps(_Touches(world.here / "executed"))))


@fault(
    MODELS,
    r"model\.pt: not a safetensors file but a (pickle|zip archive).* can run code when opened.*Give a \.safetensors",
)
def torch_file_for_a_model(world):
    torch.save({"weight": _Touches(world.here / "executed")}, world.here / "model.pt")
    return world.evaluate(world.here / "model.pt")


@fault(MODELS, r"model\.safetensors: cut short \(\d+ bytes, the header speaks of \d+\)\. The file is damaged")
def model_cut_short(world):
    whole = (world.run / "model.safetensors").read_bytes()
    return world.evaluate(world.file("model.safetensors", whole[: len(whole) // 2]))


@fault(MODELS, r"model\.safetensors: the checksum does not match: damaged or edited")
def model_with_one_changed_bit(world):
    whole = bytearray((world.run / "model.safetensors").read_bytes())
    whole[-100] ^= 1
    return world.evaluate(world.file("model.safetensors", bytes(whole)))


@fault(MODELS, r"model\.safetensors: a header of 9223372036854775808 bytes\. At most")
def model_with_an_endless_header(world):
    return world.evaluate(world.file("model.safetensors", struct.pack("<Q", 2**63) + b"{" + b"\0" * 64))


@fault(MODELS, r"model\.safetensors: a safetensors file of another program\. Give one that Segtrial wrote")
def model_of_another_program(world):
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return world.evaluate(world.file("model.safetensors", struct.pack("<Q", len(header)) + header + b"\0" * 4))


@fault(MODELS, r"absent\.safetensors: there is no such file\. Check the name")
def model_that_is_not_there(world):
    return world.evaluate(world.here / "absent.safetensors")


@fault(MODELS, r"data: no model\.safetensors in it\. Name a model file or a run folder")
def folder_without_a_model(world):
    return world.evaluate(world.data)


@fault(MODELS, r"--data: not given, and .*model\.safetensors is no run folder\. Name a folder")
def model_file_without_data(world):
    return ["evaluate", str(world.run / "model.safetensors")]


@fault(MODELS, r"data: no part is called 'vall'\. Did you mean 'val'\? There are: all, train, val")
def part_that_is_not_there(world):
    return world.evaluate(world.run, "--split", "vall")


@fault(MODELS, r"data: classes sky, ground, tree, but the model knows sky, ground, pole\. Use data with")
def data_with_other_classes(world):
    (world.data / "classes.txt").write_text("sky\nground\ntree\n")
    return world.evaluate(world.run)


@fault(MODELS, r"nowhere: there is no such file or folder\. Check the name")
def no_such_picture_to_predict(world):
    return world.predict(world.here / "nowhere")


FINE_TUNING = ("--model", "fcn:encoder=resnet18", "--set")


@fault(MODELS, r"resnet18\.tv_in1k\.safetensors: not there, and https://\S+ cannot be fetched .* Put that file there")
def imagenet_offline(world):
    return world.train(*FINE_TUNING, "encoder.weights=imagenet")


@fault(MODELS, r"absent\.safetensors: there is no such file\. Check the name")
def encoder_weights_that_are_not_there(world):
    return world.train(*FINE_TUNING, f"encoder.weights={world.here / 'absent.safetensors'}")


@fault(MODELS, r"model\.pth: only \.safetensors files are read: others can run code when opened\. Give")
def pickle_for_encoder_weights(world):
    path = world.file("model.pth", pickle.dumps(_Touches(world.here / "executed")))
    return world.train(*FINE_TUNING, f"encoder.weights={path}")


@fault(MODELS, r"model\.safetensors: a compact, whose encoder is none; wanted is a ResNet\. Give a model with the same")
def model_without_an_encoder_for_encoder_weights(world):
    return world.train(*FINE_TUNING, f"encoder.weights={world.run}")


@pytest.mark.parametrize("name", MODELS)
def test_fault(name, world, capsys):
    refused(*MODELS[name], world, capsys)


def test_there_are_enough_faults():
    assert len(MODELS) >= 15
