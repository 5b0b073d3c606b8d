"""One file gives the same pixels to training, prediction, the server and the exported reader, whatever its kind."""

import json
import re
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial import modelfile
from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.models._whole import Whole
from segtrial.prediction import Tiling, predict_files
from segtrial.serving import decoding
from segtrial.serving.network import Answering
from tests.data.drawn import labels, scene
from tests.exporting.parts import saved
from tests.prediction.known import CLASSES, Loaded

SIZE = (20, 30)
SCENE = scene(3, SIZE)  # h w 3
GREY = SCENE[:, :, 0]
ORIENTATION = 0x0112
PAGE = Path(__file__).parents[1] / "docs" / "export.md"


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(SCENE).convert(mode)


def exif(number: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = number
    return tags


def opaque(image: Image.Image) -> Image.Image:
    image.putalpha(255)
    return image


COLOURED: dict[str, Callable[[Path], None]] = {
    **{f"exif{n}.jpg": lambda path, n=n: picture().save(path, exif=exif(n)) for n in range(1, 9)},
    "exif6.png": lambda path: picture().save(path, exif=exif(6)),
    "palette.png": lambda path: picture("P").save(path),
    "palette.gif": lambda path: picture("P").save(path),
    "cmyk.jpg": lambda path: picture("CMYK").save(path),
    "cmyk.tif": lambda path: picture("CMYK").save(path),
    "opaque.png": lambda path: opaque(picture()).save(path),
    "progressive.jpg": lambda path: picture().save(path, progressive=True, quality=80),
    "sampled.jpg": lambda path: picture().save(path, subsampling=2, quality=60),
    "colours.bmp": lambda path: picture().save(path),
    "colours.webp": lambda path: picture().save(path, quality=70),
    "exact.webp": lambda path: picture().save(path, lossless=True),
    "deflate.tif": lambda path: picture().save(path, compression="tiff_adobe_deflate"),
    "jpeg.tif": lambda path: picture().save(path, compression="jpeg"),
}

GREYS: dict[str, Callable[[Path], None]] = {
    "grey.png": lambda path: Image.fromarray(GREY).save(path),
    "grey.jpg": lambda path: Image.fromarray(GREY).save(path),
    "alpha.png": lambda path: opaque(Image.fromarray(GREY)).save(path),
    "bits.png": lambda path: picture("1").save(path),
    "bits.tif": lambda path: picture("1").save(path, compression="group4"),
    "deep.png": lambda path: Image.fromarray(GREY.astype(np.uint16) * 251).save(path),
    "deep.tif": lambda path: Image.fromarray(GREY.astype(np.uint16) * 251).save(path),
    "grey.bmp": lambda path: Image.fromarray(GREY).save(path),
    "white_is_0.tif": lambda path: Image.fromarray(GREY).save(path, tiffinfo={262: 0}),
}


class Spy(nn.Module):
    """Keeps every image that it is shown; `Whole` has divided it by 255 and changed nothing else."""

    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.seen += list((x * 255).round().to(torch.uint8).numpy())
        return (x[:, :1].expand(-1, 3, -1, -1),)


def interlaced(path: Path) -> None:
    """Adam7 by hand, which Pillow reads and does not write."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    packed = b""
    for top, left, down, across in passes:
        for row in SCENE[top::down, left::across]:
            packed += b"\0" + row.tobytes() if row.size else b""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 8, 2, 0, 0, 1)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


COLOURED["interlaced.png"] = interlaced


def spying(channels: int) -> tuple[Spy, Whole]:
    core = Spy()
    return core, Whole(core, torch.zeros(channels), torch.ones(channels)).eval()


def predicted(path: Path, channels: int, folder: Path, tiling: Tiling | None = None) -> np.ndarray:
    core, network = spying(channels)
    model = replace(Loaded(), network=network)
    predict_files(model, [path], folder, save=["labels"], tiling=tiling, precision="float32")
    return np.concatenate(core.seen, axis=1)


def in_tiles(path: Path, channels: int, folder: Path) -> np.ndarray:
    return predicted(path, channels, folder, Tiling((10, 1000), 0))  # 20 and 30 rows: tiles that share none


def served(path: Path, channels: int, folder: Path, kind: str = decoding.PICTURE) -> np.ndarray:
    """What the process that decodes hands to the process that answers, and that to the network."""
    core, network = spying(channels)
    body, job = path.read_bytes(), {"kind": kind, "channels": channels}
    if kind == decoding.FORM:
        head = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        body, job = head + body + b"\r\n--edge--\r\n", job | {"type": "multipart/form-data; boundary=edge"}
    header, buffers = decoding.handle(job, [body])
    answering = Answering(replace(tiny(folder), network=network), "none")
    answering.handle({"shape": header["shape"][1:]}, [bytes(buffer) for buffer in buffers])
    return core.seen[0]


@cache
def tiny(folder: Path) -> modelfile.Loaded:
    return modelfile.load(saved(folder / "model.safetensors", "unet:width=4,depth=2"))


def in_a_form(path: Path, channels: int, folder: Path) -> np.ndarray:
    return served(path, channels, folder, decoding.FORM)


def read_elsewhere(path: Path, channels: int, folder: Path) -> np.ndarray:
    """What the program in docs/export.md gives to its engine."""
    given: list[np.ndarray] = []

    class Session:
        def __init__(self, model: str):
            card = {"input": {"numbers": "uint8", "channels": channels}, "classes": CLASSES.to_json()}
            self.metadata = SimpleNamespace(custom_metadata_map={"segtrial": json.dumps(card)})

        def get_modelmeta(self) -> SimpleNamespace:
            return self.metadata

        def run(self, names: list[str], images: dict[str, np.ndarray]) -> list[np.ndarray]:
            given.append(images["images"])
            return [images["images"][:, :1].astype(np.float32).repeat(3, axis=1)]

    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
        patch.setattr(sys, "argv", ["reader", "model.onnx", str(path), str(folder / "answer.png")])
        exec(compile(program, str(PAGE), "exec"), {})
    return given[0][0]


WAYS = {
    "predict": predicted,
    "predict in tiles": in_tiles,
    "serve": served,
    "serve a form": in_a_form,
    "the reader of an exported file": read_elsewhere,
}


@pytest.fixture(scope="module", params=["colour", "grey"])
def trained(request, tmp_path_factory) -> tuple[int, dict[Path, np.ndarray]]:
    """Channels, and the pixels that training gets of each file."""
    kinds, channels = (COLOURED | GREYS, 3) if request.param == "colour" else (GREYS, 1)
    root = tmp_path_factory.mktemp("data")
    for part in ("train", "val"):
        for folder in ("images", "masks"):
            (root / part / folder).mkdir(parents=True)
    for number, (name, write) in enumerate(sorted(kinds.items())):
        part, stem = ("val" if number == 0 else "train"), f"{number:02d}{Path(name).stem}"
        write(root / part / "images" / f"{stem}{Path(name).suffix}")
        with Image.open(root / part / "images" / f"{stem}{Path(name).suffix}") as stored:
            size = (SIZE[1], SIZE[0]) if stored.getexif().get(ORIENTATION, 1) > 4 else SIZE
        Image.fromarray(labels([0, 1, 2], size)).save(root / part / "masks" / f"{stem}.png")
    dataset, found = open_dataset(root), {}
    for part in ("train", "val"):
        store = open_store(dataset, part, cache=tmp_path_factory.mktemp("cache"))
        for index, key in enumerate(store.keys):
            (path,) = (root / key).parent.glob(f"{Path(key).name}.*")
            found[path] = store[index].image
    assert len(found) == len(kinds)
    return channels, found


@pytest.mark.parametrize("way", WAYS)
def test_every_way_sees_the_pixels_that_training_saw(trained, way, tmp_path):
    channels, pixels = trained
    for path, image in pixels.items():
        np.testing.assert_array_equal(WAYS[way](path, channels, tmp_path), image, err_msg=path.name)
