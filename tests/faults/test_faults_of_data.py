"""Whatever is wrong with the data: exit code 2, the place, what was found, the fix, and nothing half-written."""

import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segtrial import cli
from tests import tiny
from tests.faults.world import Fault, damaged, fault, picture, png_chunk, refused

DATA: dict[str, tuple[Fault, str]] = {}


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


@fault(DATA, r"1 image without a mask: train/images/1\.png")
def missing_mask(world):
    world.mask.unlink()
    return world.train()


@fault(DATA, r"1 mask without an image: train/masks/1\.png")
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
    r"data: 1 mask holds RGB colours and classes\.txt gives no colours.*\[255, 0, 9\].*Describe them in data\.yaml",
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


@pytest.mark.parametrize("name", DATA)
def test_fault(name, world, capsys):
    refused(*DATA[name], world, capsys)


def test_there_are_enough_faults():
    assert len(DATA) >= 20


def test_a_failure_leaves_no_empty_run_folder(world):
    world.mask.unlink()
    assert cli.main(world.train()) == 2
    assert not world.out.exists()


def test_pictures_that_cannot_be_read_are_skipped_and_listed(world, capsys):
    images = world.data / "train/images"
    damaged(world.image, world.image.read_bytes()[:-200])
    assert cli.main(world.predict(images)) == 3
    said = capsys.readouterr()
    assert "3 images answered" in said.out
    assert re.search(r"skipped .*1\.png: truncated or damaged", said.err)
    assert sorted(path.name for path in world.out.glob("?.png")) == ["0.png", "2.png", "3.png"]
