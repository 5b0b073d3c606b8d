"""The same file gives the same pixels through the training loader and through prediction, for every kind of image."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.models._whole import Whole
from segtrial.prediction import Tiling, predict_files
from tests.data.drawn import labels, scene
from tests.prediction.known import Loaded

SIZE = (20, 30)
SCENE = scene(3, SIZE)  # h w 3
GREY = SCENE[:, :, 0]
ORIENTATION = 0x0112


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


@pytest.mark.parametrize("way", ["whole", "tiles"])
@pytest.mark.parametrize(("kinds", "channels"), [(COLOURED | GREYS, 3), (GREYS, 1)], ids=["mixed", "grey"])
def test_training_and_prediction_see_the_same_pixels(kinds, channels, way, tmp_path):
    root = tmp_path / "data"
    for part in ("train", "val"):
        for folder in ("images", "masks"):
            (root / part / folder).mkdir(parents=True)
    for number, (name, write) in enumerate(sorted(kinds.items())):
        part, stem = ("val" if number == 0 else "train"), f"{number:02d}{Path(name).stem}"
        write(root / part / "images" / f"{stem}{Path(name).suffix}")
        with Image.open(root / part / "images" / f"{stem}{Path(name).suffix}") as stored:
            size = SIZE[::-1] if stored.getexif().get(ORIENTATION, 1) > 4 else SIZE
        Image.fromarray(labels([0, 1, 2], size)).save(root / part / "masks" / f"{stem}.png")
    dataset = open_dataset(root)
    trained = {}
    for part in ("train", "val"):
        store = open_store(dataset, part, cache=tmp_path / "cache")
        trained |= {store.keys[index]: store[index].image for index in range(len(store))}
    assert len(trained) == len(kinds)
    core = Spy()
    model = replace(Loaded(), network=Whole(core, torch.zeros(channels), torch.ones(channels)).eval())
    tiling = Tiling((10, 1000), 0)  # 20 and 30 rows: tiles that share none if way == "tiles" else None
    for key, image in trained.items():
        (path,) = (root / key).parent.glob(f"{Path(key).name}.*")
        core.seen.clear()
        predict_files(model, [path], tmp_path / "out", save=["labels"], tiling=tiling, precision="float32")
        np.testing.assert_array_equal(np.concatenate(core.seen, axis=1), image, err_msg=path.name)
