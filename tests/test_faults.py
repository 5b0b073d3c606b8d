"""Whatever is wrong with the input: exit code 2, the place, what was found, the fix, and nothing half-written."""

import io
import json
import os
import pickle
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image

from segtrial import cli
from segtrial.files import folder_lock
from tests import tiny


@dataclass(frozen=True)
class World:
    """One test's own folders: data to break, an `out` that is not there, and a finished run to read."""

    here: Path
    data: Path
    out: Path
    run: Path

    def train(self, *more: str) -> list[str]:
        return tiny.words(self.data, self.out, *more)

    def evaluate(self, model: Path, *more: str) -> list[str]:
        return ["evaluate", str(model), "--data", str(self.data), *more]

    def predict(self, *images: Path) -> list[str]:
        return ["predict", str(self.run), *map(str, images), "--out", str(self.out)]

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.here / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @property
    def image(self) -> Path:
        return self.data / "train/images/1.png"

    @property
    def mask(self) -> Path:
        return self.data / "train/masks/1.png"


@pytest.fixture
def world(tiny_data, tiny_run, tmp_path, own_cache, monkeypatch) -> World:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    data = shutil.copytree(tiny_data, tmp_path / "data")
    return World(tmp_path, data, tmp_path / "out", tiny_run)


def no_network(*_, **__):
    raise ConnectionError("no network in tests")


Fault = Callable[[World], list[str]]
DATA: dict[str, tuple[Fault, str]] = {}
WORDS: dict[str, tuple[Fault, str]] = {}
FOLDERS: dict[str, tuple[Fault, str]] = {}
MODELS: dict[str, tuple[Fault, str]] = {}


def fault(table: dict[str, tuple[Fault, str]], message: str) -> Callable[[Fault], Fault]:
    """Enter a way to be wrong, and the message that must come of it."""

    def enter(arrange: Fault) -> Fault:
        table[arrange.__name__.replace("_", " ")] = (arrange, message)
        return arrange

    return enter


def damaged(path: Path, content: bytes) -> None:
    assert path.exists()
    path.write_bytes(content)


def picture(array: np.ndarray, form: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# ---- data -----------------------------------------------------------------------------------------------------------


@fault(DATA, r"data-set: there is no such file or folder\. Did you mean 'data'\? Give a folder")
def no_such_folder(world):
    return ["train", "--data", str(world.here / "data-set"), "--out", str(world.out)]


@fault(DATA, r"empty: no picture below it\. Understood are: images/ and masks/")
def empty_folder(world):
    (world.here / "empty").mkdir()
    return ["train", "--data", str(world.here / "empty"), "--out", str(world.out)]


@fault(DATA, r"1\.png: not a folder and not a data\.yaml\. Give the folder that holds images and masks")
def one_picture_for_a_folder(world):
    return ["train", "--data", str(world.image), "--out", str(world.out)]


@fault(DATA, r"1 images without a mask: train/images/1\.png")
def missing_mask(world):
    world.mask.unlink()
    return world.train()


@fault(DATA, r"1 masks without an image: train/masks/1\.png")
def missing_image(world):
    world.image.unlink()
    return world.train()


@fault(DATA, r"train/masks/1\.png: .*20x20.*24x32.*never resized")
def mask_of_another_size(world):
    damaged(world.mask, picture(np.zeros((20, 20), np.uint8)))
    return world.train()


@fault(DATA, r"train/masks/1\.png: .*32x24 .*24x32 .*height and width are exchanged")
def mask_turned_on_its_side(world):
    damaged(world.mask, picture(np.asarray(Image.open(world.mask)).T.copy()))
    return world.train()


@fault(
    DATA, r"classes\.txt has 3 names but masks hold 7 \(5 pixels, first in .*train/masks/1\.png\)\. Correct the masks"
)
def mask_value_out_of_range(world):
    mask = np.asarray(Image.open(world.mask)).copy()
    mask[0, :5] = 7
    damaged(world.mask, picture(mask))
    return world.train()


@fault(
    DATA,
    r"data: 1 masks hold RGB colours and classes\.txt gives no colours.*\[255, 0, 9\].*Describe them in data\.yaml",
)
def one_mask_in_colours(world):
    damaged(world.mask, picture(np.full((*tiny.SIZE, 3), (255, 0, 9), np.uint8)))
    return world.train()


@fault(DATA, r"masks hold \d+ distinct values; 4 of the masks are JPEG files: a lossy .*Save masks as PNG")
def masks_saved_as_jpeg(world):
    (world.data / "classes.txt").unlink()
    for mask in (world.data / "train/masks").glob("*.png"):
        smooth = np.linspace(0, 255, 24 * 32).reshape(24, 32).astype(np.uint8)
        mask.with_suffix(".jpg").write_bytes(picture(smooth, "jpeg"))
        mask.unlink()
    return world.train()


@fault(DATA, r"train/images/1\.png: truncated or damaged .*Copy the file again from its source")
def truncated_image(world):
    damaged(world.image, world.image.read_bytes()[:-200])
    return world.train()


@fault(DATA, r"train/images/1\.jpg: truncated or damaged")
def truncated_jpeg(world):
    whole = picture(np.asarray(Image.open(world.image)), "jpeg")
    world.image.with_suffix(".jpg").write_bytes(whole[: len(whole) // 2])
    world.image.unlink()
    return world.train()


@fault(DATA, r"train/masks/1\.png: truncated or damaged")
def truncated_mask(world):
    damaged(world.mask, world.mask.read_bytes()[:-30])
    return world.train()


@fault(DATA, r"train/images/1\.png: empty file \(0 bytes\)\. Put a picture there")
def image_of_no_bytes(world):
    damaged(world.image, b"")
    return world.train()


@fault(DATA, r"train/images/1\.png: not a picture but text: .*Put a picture there")
def web_page_for_an_image(world):
    damaged(world.image, b"<!doctype html><title>Not found</title>")
    return world.train()


@fault(DATA, r"train/images/1\.png: too large to decode safely \(.*60000.*Cut it into tiles")
def picture_that_would_fill_the_memory(world):
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", size), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")
    damaged(world.image, b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    return world.train()


@fault(DATA, r"train/images/1\.png: it holds 3 frames\. Save each frame as a file of its own")
def moving_picture(world):
    frames = [Image.new("RGB", (32, 24), color) for color in ("red", "green", "blue")]
    frames[0].save(world.image, save_all=True, append_images=frames[1:])
    return world.train()


@fault(DATA, r"train/images/1\.png: it is a pipe, not a file\. Remove it")
def pipe_for_an_image(world):
    world.image.unlink()
    os.mkfifo(world.image)
    return world.train()


@fault(DATA, r"images that share one name: .*train/images/1\.jpg.*Keep one")
def two_images_of_one_name(world):
    world.image.with_suffix(".jpg").write_bytes(picture(np.asarray(Image.open(world.image)), "jpeg"))
    return world.train()


@fault(DATA, r"classes\.txt: repeated names \['sky'\]\. Give each class a name of its own")
def repeated_class(world):
    (world.data / "classes.txt").write_text("sky\nsky\npole\n")
    return world.train()


@fault(DATA, r"data\.yaml: unknown key 'clases'\. Did you mean 'classes'\?")
def misspelt_data_description(world):
    (world.data / "data.yaml").write_text("clases: [sky]\n")
    return world.train()


@fault(DATA, r"val_groups tram: no group of train is called so\. There are: ")
def group_that_is_not_there(world):
    return world.train("--set", "split.val_groups=[tram]")


# ---- words ----------------------------------------------------------------------------------------------------------


@fault(WORDS, r"--data: not given\. Name a folder of images and masks, or --data toytown")
def no_data(world):
    return ["train", "--out", str(world.out)]


@fault(WORDS, r"Missing option '--out'")
def no_out(world):
    return ["train", "--data", str(world.data)]


@fault(WORDS, r"No such command 'trian'\. Did you mean 'train'\?")
def unknown_verb(world):
    return ["trian"]


@fault(WORDS, r"No such option: --mdoel")
def unknown_option(world):
    return world.train("--mdoel", "unet")


@fault(WORDS, r"Invalid value for '--seed': .*integer")
def seed_in_letters(world):
    return world.train("--seed", "one")


@fault(WORDS, r"model 'unt': no model has this name\. Did you mean 'unet'\? There are: classifier, compact")
def unknown_model(world):
    return world.train("--model", "unt")


@fault(WORDS, r"option of model unet 'skip': .*Did you mean 'skips'\?")
def unknown_option_of_a_model(world):
    return world.train("--model", "unet:skip=false")


@fault(WORDS, r"model unet, option encoder: 'resnet43'\. Did you mean 'resnet34'\? Choose one of: ")
def wrong_value_of_a_model_option(world):
    return world.train("--model", "unet:encoder=resnet43")


@fault(WORDS, r"unknown key 'optimizer\.lrr'\. Did you mean 'optimizer\.lr'\?")
def unknown_setting(world):
    return world.train("--set", "optimizer.lrr=1")


@fault(WORDS, r"optimizer\.lr=-1 is too small\. Give more than 0")
def setting_out_of_range(world):
    return world.train("--set", "optimizer.lr=-1")


@fault(WORDS, r"--set ema: no key=value\. Write --set optimizer\.lr=0\.01")
def setting_without_a_value(world):
    return world.train("--set", "ema")


@fault(WORDS, r"epochs and steps are given together\. Keep one")
def two_budgets(world):
    return world.train("--epochs", "1")


@fault(WORDS, r"minutes=-1.* is too small\. Give more than 0")
def budget_below_zero(world):
    return ["train", "--data", str(world.data), "--out", str(world.out), "--minutes", "-1"]


@fault(WORDS, r"device cuda:99: (torch sees no CUDA GPU|there are \d+ GPUs)\. Use ")
def gpu_that_is_not_there(world):
    return world.train("--set", "device=cuda:99")


@fault(WORDS, r"device 'gpu': no device has this name")
def unknown_device(world):
    return world.evaluate(world.run, "--device", "gpu")


@fault(WORDS, r"recipe\.yaml: cannot be read .*Give a YAML file")
def recipe_that_is_not_there(world):
    return world.train("--recipe", str(world.here / "recipe.yaml"))


@fault(WORDS, r"recipe\.yaml: not plain YAML \(could not determine a constructor for the tag")
def recipe_with_code(world):
    text = f"model: !!python/object/apply:os.system ['touch {world.here / 'executed'}']"
    return world.train("--recipe", str(world.file("recipe.yaml", text)))


@fault(WORDS, r"recipe\.yaml: unknown key 'batchsize'\. Did you mean 'phases\[\]\.batch'")
def recipe_with_an_unknown_key(world):
    return world.train("--recipe", str(world.file("recipe.yaml", "batchsize: 4")))


@fault(WORDS, r"a\.yaml and --recipe b\.yaml: two recipes\. Give one of them")
def two_recipes(world):
    return ["train", "a.yaml", "--recipe", "b.yaml", "--out", str(world.out)]


@fault(WORDS, r"encoder: compact has no encoder of its own to fine-tune\. Leave `encoder` out .* one of: classifier, ")
def freezing_what_is_not_there(world):
    return world.train("--set", "encoder.freeze=all")


@fault(WORDS, r"start \(--from\) and encoder\.weights are given together\. Keep one")
def two_origins_of_weights(world):
    return world.train("--from", str(world.run), "--set", "encoder.weights=imagenet")


@fault(WORDS, r"model 'unt': no model has this name")
def unknown_model_to_describe(world):
    return ["models", "unt"]


# ---- folders to write to --------------------------------------------------------------------------------------------


@fault(FOLDERS, r"out: cannot be used as a folder \(File exists\)\. Choose another --out")
def file_in_the_place_of_the_run(world):
    world.out.write_text("mine")
    return world.train()


@fault(FOLDERS, r"out/run: cannot be used as a folder \(Not a directory\)\. Choose another --out")
def run_below_a_file(world):
    world.out.write_text("mine")
    return ["train", "--data", str(world.data), "--out", str(world.out / "run")]


@fault(FOLDERS, r"/proc/run: cannot be used as a folder \(.*\)\. Choose another --out")
def folder_that_cannot_be_written(world):
    return ["train", "--data", str(world.data), "--out", "/proc/run"]


@fault(FOLDERS, r"out: holds files that are no run \(diary\.txt\)\. Choose an empty or new --out")
def folder_of_something_else(world):
    world.out.mkdir()
    (world.out / "diary.txt").write_text("mine")
    return world.train()


@fault(FOLDERS, r"out: holds a run of another recipe \(seed: 0 -> 7\)\. Give the same words to continue it")
def run_of_another_recipe(world):
    shutil.copytree(world.run, world.out)
    return world.train("--seed", "7")


@fault(FOLDERS, r"out: cannot be used as a folder \(File exists\)")
def answers_in_the_place_of_a_file(world):
    world.out.write_text("mine")
    return world.predict(world.image)


# ---- models ---------------------------------------------------------------------------------------------------------


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


# ---- what must come of it -------------------------------------------------------------------------------------------

EVERY_FAULT = {**DATA, **WORDS, **FOLDERS, **MODELS}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that can be read, hidden ones too; a lock that nobody holds is nothing."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", EVERY_FAULT)
def test_fault(name, world, capsys):
    arrange, message = EVERY_FAULT[name]
    words = arrange(world)
    before = contents(world.here)
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert re.search(message, " ".join(said.err.split())), said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert contents(world.here) == before
    assert not (world.here / "executed").exists()


def test_there_are_enough_faults():
    assert len(EVERY_FAULT) >= 25


def test_a_failure_leaves_no_empty_run_folder(world):
    world.mask.unlink()
    assert cli.main(world.train()) == 2
    assert not world.out.exists()


def test_a_run_folder_in_use_names_its_holder(world, capsys):
    with folder_lock(world.out):
        assert cli.main(world.train()) == 2
    assert re.search(rf"out: in use by process {os.getpid()} on .*Wait for it", capsys.readouterr().err)


def test_pictures_that_cannot_be_read_are_skipped_and_listed(world, capsys):
    images = world.data / "train/images"
    damaged(world.image, world.image.read_bytes()[:-200])
    assert cli.main(world.predict(images)) == 3
    said = capsys.readouterr()
    assert "3 answered" in said.out
    assert re.search(r"skipped .*1\.png: truncated or damaged", said.err)
    assert sorted(path.name for path in world.out.glob("?.png")) == ["0.png", "2.png", "3.png"]
