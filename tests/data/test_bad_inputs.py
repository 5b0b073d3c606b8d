"""Faults that real folders have: each is refused with the file, what was found, and the fix."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrial.data import open_dataset
from segtrial.data.pictures import read_image
from segtrial.errors import DataError, DataNotFound, ImageError, MaskError, PairingError
from tests.data.drawn import labels, photo

NAMES = ("a", "b", "c")
MASK = labels([0, 1, 2])
GOOD = {f"images/{name}.png": photo(n) for n, name in enumerate(NAMES)} | {f"masks/{name}.png": MASK for name in NAMES}


def read_everything(root: Path) -> None:
    data = open_dataset(root)
    for items in data.parts.values():
        for item in items:
            data.read(item)


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and whose data is nearly nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def noisy_edges() -> np.ndarray:
    return np.arange(192, dtype=np.uint8).reshape(12, 16)


def with_alpha() -> Image.Image:
    return Image.fromarray(np.dstack([photo(1), labels([255, 128])]))


CASES = {
    # pictures
    "empty file": ({"images/b.png": b""}, ImageError, r"images/b\.png: empty file \(0 bytes\)\. Put a picture there"),
    "html": ({"images/b.png": "<!DOCTYPE html>"}, ImageError, r"b\.png: not a picture but text: it starts with '<!DOC"),
    "json mask": ({"masks/b.png": '{"a": 1}'}, MaskError, r"masks/b\.png: not a picture but text"),
    "pdf": ({"images/b.png": b"%PDF-1.7 ..."}, ImageError, r"b\.png: not a picture of a known format.*PNG, JPEG, WEBP"),
    "bomb": (
        {"images/b.png": png(60000, 60000)},
        ImageError,
        r"b\.png: too large to decode safely .*Cut it into tiles",
    ),
    "above the limit": (
        {"images/b.png": png(9500, 9500)},
        ImageError,
        r"b\.png: too large to decode.*the limit is 89478485",
    ),
    "header only": ({"images/b.png": png(16, 12)}, ImageError, r"b\.png: truncated or damaged .*Copy the file again"),
    "transparent": (
        {"images/b.png": with_alpha()},
        ImageError,
        r"b\.png: it has transparent pixels \(alpha down to 128",
    ),
    "float image": (
        {"images/b.png": b"", "images/b.tif": Image.fromarray(np.full((12, 16), 0.5, np.float32))},
        (ImageError, PairingError),
        r"b\.(png|tif)",
    ),
    # masks
    "transparent mask": ({"masks/b.png": with_alpha()}, MaskError, r"masks/b\.png: it has transparent pixels"),
    "other size": (
        {"masks/b.png": labels([0, 1, 2], (6, 8))},
        MaskError,
        r"b\.png: the mask is 6x8 but its image is 12x16",
    ),
    "transposed": (
        {"masks/b.png": MASK.T.copy()},
        MaskError,
        r"the mask is 16x12 but .* 12x16 .*transposed, or turned by EXIF",
    ),
    "holes": (
        {"masks/b.png": labels([0, 7, 19])},
        MaskError,
        r"the values 0 \(\d+ pixels, .*, 7 \(64 pixels, first in .*masks/b\.png\), 19 .*ids: \[7\]",
    ),
    "from one": (
        {f"masks/{name}.png": labels([1, 2, 3]) for name in NAMES},
        MaskError,
        r"the values 1 .*, which are not 0, 1, 2, \.\.\. without holes\. Describe the classes in data\.yaml",
    ),
    "one class only": ({f"masks/{name}.png": labels([0]) for name in NAMES}, MaskError, "every mask is 0 everywhere"),
    "anti-aliased": (
        {"masks/b.png": noisy_edges()},
        MaskError,
        r"192 distinct values: a lossy or anti-aliased mask.*as PNG",
    ),
    "colours without a table": (
        {f"masks/{name}.png": np.array([[[9, 8, 7]] * 16] * 12, np.uint8) for name in NAMES},
        MaskError,
        r"3 masks hold RGB colours and there is no table of class colours.*\[9, 8, 7\] 100\.0 %.*color_tolerance: 300",
    ),
    "one coloured mask": ({"masks/b.png": photo(1)}, MaskError, r"1 mask holds RGB colours"),
    "colours off the table": (
        {f"masks/{name}.png": np.array([[[255, 0, n]] * 16] * 12, np.uint8) for n, name in enumerate(NAMES)}
        | {"label_colors.txt": "255 0 0 sky\n0 0 255 road\n"},
        MaskError,
        r"b\.png: 1 colours stand for no.*\(255, 0, 1\) \(192 pixels, nearest is sky at distance 1\).*tolerance: 1",
    ),
    "more values than names": (
        {"classes.txt": "sky\nroad\n"},
        MaskError,
        r"classes\.txt has 2 names but masks hold 2 \(192 pixels, first in .*a\.png\)\. .*values are 0 to 1 or 255",
    ),
    "names without colours": (
        {f"masks/{name}.png": photo(1) for name in NAMES} | {"classes.txt": "sky\nroad\n"},
        MaskError,
        r"classes\.txt gives no colours",
    ),
    # pairs
    "image without mask": (
        {"images/d.png": photo(4)},
        PairingError,
        r"1 image without a mask: images/d\.png\. Add or remove",
    ),
    "mask without image": ({"masks/d.png": MASK}, PairingError, r"1 mask without an image: masks/d\.png"),
    "two images of one name": (
        {"images/b.jpg": photo(4)},
        PairingError,
        r"images that share one name: images/b\.(jpg|png), images/b",
    ),
    "two folders of masks": (
        {f"labels/{name}.png": MASK for name in NAMES},
        PairingError,
        r"masks that share one name: .*masks/a\.png.*name the folder in data\.yaml",
    ),
    # tables
    "bad table": (
        {"label_colors.txt": "1 2 x\n"},
        DataError,
        r"label_colors\.txt:1: cannot read '1 2 x'\. Write \"R G B name\"",
    ),
    "colour above 255": ({"class_dict.csv": "n,r,g,b\nsky,1,2,256\n"}, DataError, r"class_dict\.csv:2: colour 1 2 256"),
    "one colour twice": (
        {"label_colors.txt": "1 2 3 a\n1 2 3 b\n"},
        DataError,
        r"colours \[\(1, 2, 3\)\] stand for several",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_file_finding_and_fix(make, case):
    files, kind, message = CASES[case]
    with pytest.raises(kind, match=f"(?s){message}"):
        read_everything(make(GOOD | files))


@pytest.mark.parametrize(("where", "kind"), [("images/b", ImageError), ("masks/b", MaskError)])
@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "bmp", "tif", "gif"])
def test_a_truncated_file_is_found(make, where, kind, extension):
    root = make({name: content for name, content in GOOD.items() if name != f"{where}.png"})
    path = root / f"{where}.{extension}"
    Image.fromarray(MASK).resize((160, 120), Image.Resampling.NEAREST).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(kind, match=rf"b\.{extension}: (truncated or damaged|not a picture)"):
        read_everything(root)


def test_an_exif_turned_image_beside_an_unturned_mask_is_named(make):
    root = make(GOOD)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(1)).save(root / "images/b.png", exif=exif)
    with pytest.raises(
        MaskError, match=r"b\.png: the mask is 12x16 but its image is 16x12 .*turned by its EXIF orientation"
    ):
        read_everything(root)


def test_several_frames_are_refused(make):
    root = make(GOOD)
    frames = [Image.fromarray(photo(n)) for n in range(3)]
    frames[0].save(root / "images/b.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"b\.png: it holds 3 frames\. Save each frame as a file of its own"):
        read_everything(root)


def test_a_jpeg_mask_is_called_lossy(make):
    root = make({name: content for name, content in GOOD.items() if name != "masks/b.png"})
    Image.fromarray(labels([0, 255] * 3 + [0])).save(root / "masks/b.jpg", quality=70)
    with pytest.raises(
        MaskError, match=r"(?s)b\.jpg: masks hold \d+ distinct values; 1 of the masks are JPEG.*color_tolerance"
    ):
        read_everything(root)


def test_pipes_folders_and_broken_links_do_not_block(make):
    root = make(GOOD)
    (root / "images/b.png").unlink()
    os.mkfifo(root / "images/b.png")
    with pytest.raises(ImageError, match=r"b\.png: it is a pipe, not a file"):
        read_everything(root)
    (root / "images/b.png").unlink()
    (root / "images/b.png").symlink_to("nowhere.png")
    with pytest.raises(ImageError, match=r"b\.png: broken link to nowhere\.png\. Restore the file"):
        read_everything(root)


def test_a_file_that_may_not_be_read_is_named(make, monkeypatch):
    root = make(GOOD)
    real_open = os.open

    def refuse(path, *rest, **more):
        if str(path).endswith("b.png"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)  # chmod does not stop the superuser that runs containers
    with pytest.raises(ImageError, match=r"b\.png: cannot be opened \(Permission denied\)"):
        read_image(root / "images/b.png", 3)


def test_a_float_image_asks_for_its_range(tmp_path):
    Image.fromarray(np.array([[0.0, 0.25]], np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match=r"x\.tif: its pixels are of kind 'F' from 0\.0 to 0\.25\. Save it as 8-bit"):
        read_image(tmp_path / "x.tif", 1)


def test_a_file_that_vanishes_is_named(make):
    data = open_dataset(make(GOOD))
    item = data.parts["train"][0]
    item.image.unlink()
    with pytest.raises(DataNotFound, match=r"\.png: gone since the folder was read"):
        data.fingerprint(item)


def test_many_faults_are_listed_and_counted(make):
    root = make({f"images/{n:02}.png": photo(n) for n in range(30)} | {f"masks/{n:02}.png": MASK for n in range(30)})
    for n in range(25):
        (root / f"images/{n:02}.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"(?s)25 of 30 files are at fault:.*00\.png: empty file.*and 5 more"):
        open_dataset(root)
    with pytest.raises(PairingError, match=r"25 images without a mask: .*and 5 more"):
        open_dataset(make({f"images/x{n:02}.png": photo(n) for n in range(25)}))


def test_images_alone_list_the_layouts(make):
    with pytest.raises(PairingError, match=r"2 pictures, and none looks like a mask\. Understood are: images/"):
        open_dataset(make({"x/a.png": photo(1), "y/b.png": photo(2)}))
