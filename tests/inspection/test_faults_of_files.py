"""Files as disks, cameras and exports break them: each is named by `inspect`, or survives and is read right."""

import gzip
import io
import os
import resource
import struct
import time
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from segtrial import cli
from segtrial.data import folder
from segtrial.data.pictures import read_image
from segtrial.inspection import Inspection, inspect
from segtrial.inspection.finding import Finding
from tests.data.drawn import labels, photo, scene
from tests.data.test_bad_inputs import png
from tests.inspection.test_inspect_faults import MASK, NAMES, good, of

SIZE = (48, 64)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, kind, **how)
    return file.getvalue()


def with_image(name: str, content: bytes | np.ndarray, masks: np.ndarray = MASK) -> dict:
    """Five pairs, the second with this for its image."""
    return {place: one for place, one in good(masks).items() if place != "images/b.png"} | {f"images/{name}": content}


def the(found: Inspection, code: str, severity: str, file: str, fix: str) -> Finding:
    """The one finding of this code, after a look at the rest of it."""
    [one] = of(found, code)
    assert (one.severity, one.files) == (severity, (file,))
    assert fix in one.fix
    return one


def codes(found: Inspection, severity: str = "error") -> set[str]:
    return {one.code for one in found.findings if one.severity == severity}


def tiff(pixels: bytes, size: tuple[int, int], *, bits: int, kind: int = 1, compression: int = 1) -> bytes:
    """A grey TIFF by hand. `kind`: 1 unsigned, 2 signed. `compression`: 1 none, 8 deflate."""
    head = {256: size[1], 257: size[0], 258: bits, 259: compression, 262: 1, 273: 0, 277: 1, 278: size[0]}
    entries = {**head, 279: len(pixels), 339: kind}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + pixels


def deep_png(pixels: np.ndarray) -> bytes:
    """Colours of 16 bits, h w 3."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b"",
    }  # fmt: skip
    written = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
               for kind, data in chunks.items())  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


# ---- files that cannot be decoded -----------------------------------------------------------------------------------


def test_a_jpeg_cut_in_half(make, cache):
    whole = encoded(scene(1, SIZE), "JPEG")
    found = inspect(make(with_image("b.jpg", whole[: len(whole) // 2])), cache=cache)
    the(found, "image.truncated", "error", "images/b.jpg", "Copy the file again")


@pytest.mark.parametrize(("name", "kind"), [("images/b.png", "image"), ("masks/b.png", "mask")])
def test_a_png_without_its_last_bytes(make, cache, name, kind):
    """Its end and the checksum before it: a look at the header alone, or at each checksum, would not do."""
    pixels = scene(1, SIZE) if kind == "image" else MASK
    found = inspect(make(good() | {name: encoded(pixels, "PNG")[:-20]}), cache=cache)
    the(found, f"{kind}.truncated", "error", name, "Copy the file again")


FOREIGN = {
    "photoshop": b"8BPS\0\1" + bytes(60),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "fits": b"SIMPLE  =                    T" + bytes(2850),
    "gzip bomb": gzip.compress(bytes(20_000_000)),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_format_that_is_not_on_the_list(make, cache, content):
    one = the(
        inspect(make(good() | {"images/b.png": content}), cache=cache),
        "image.format", "error", "images/b.png", "PNG, JPEG",
    )  # fmt: skip
    assert "not a picture of a known format" in one.message


BOMBS = {
    "png of 60000 x 60000": ("b.png", png(60_000, 60_000)),
    "png of 30000 x 30000": ("b.png", png(30_000, 30_000)),
    "tiff": ("b.tif", tiff(zlib.compress(bytes(1_000_000)), (60_000, 60_000), bits=8, compression=8)),
}


@pytest.mark.parametrize(("name", "content"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_not_decoded(make, cache, name, content):
    root = make(with_image(name, content))
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    the(inspect(root, cache=cache), "image.bomb", "error", f"images/{name}", "Cut it into tiles")
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 50_000  # kB


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_several_frames_are_counted(make, cache, kind):
    frames = [Image.fromarray(photo(n, SIZE)) for n in range(3)]
    name = f"b.{kind.lower()}"
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    one = the(
        inspect(make(with_image(name, content)), cache=cache),
        "image.frames", "error", f"images/{name}", "Save each frame",
    )  # fmt: skip
    assert "3 frames" in one.message


def test_a_file_that_goes_while_the_folder_is_inspected(make, cache, monkeypatch):
    root, real = make(good()), folder.find_pairs

    def find_pairs(place):
        found = real(place)
        (root / "images/b.png").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(folder, "find_pairs", find_pairs)
    found = inspect(root, cache=cache)
    the(found, "file.unreadable", "error", "images/b.png", "Restore the file")
    assert codes(found) == {"file.unreadable"}
    assert sum(found.parts.values()) == 4


def test_links_to_files_elsewhere_are_read_and_noted(make, cache, tmp_path):
    root = make(good())
    (root / "images/b.png").rename(tmp_path / "elsewhere.png")
    (root / "images/b.png").symlink_to(tmp_path / "elsewhere.png")
    (root / "masks/c.png").rename(root / "masks/.c.png")
    (root / "masks/c.png").symlink_to(root / "masks/.c.png")  # inside: nothing to say
    found = inspect(root, cache=cache)
    the(found, "file.elsewhere", "note", "images/b.png", "an archive of the folder would lack them")
    assert not found.failed
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "images").symlink_to(root / "images")
    (linked / "masks").symlink_to(root / "masks")
    assert of(inspect(linked, cache=cache), "file.elsewhere")[0].count == 2 * len(NAMES)


# ---- kinds of pixels ------------------------------------------------------------------------------------------------


def test_an_image_of_each_orientation_beside_an_upright_mask(make, cache):
    """Pixels are those that one sees, whatever the tag says: an asymmetric picture, stored in eight ways."""
    pixels = photo(1, SIZE)
    store = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud}
    store |= {5: lambda p: p.transpose(1, 0, 2), 6: np.rot90, 8: lambda p: np.rot90(p, -1)}
    store |= {7: lambda p: np.rot90(p.transpose(1, 0, 2), 2)}
    files = {f"masks/{tag}.png": MASK for tag in store}
    for tag, undo in store.items():
        exif = Image.Exif()
        exif[0x0112] = tag
        files[f"images/{tag}.png"] = encoded(np.ascontiguousarray(undo(pixels)), "PNG", exif=exif)
    root = make(files)
    found = inspect(root, cache=cache)
    assert codes(found) == {"duplicate.across"}  # they are one picture, and nothing else is wrong
    assert of(found, "image.turned")[0].files == tuple(f"images/{tag}.png" for tag in (5, 6, 7, 8))
    for tag in store:
        np.testing.assert_array_equal(read_image(root / f"images/{tag}.png", 3), pixels.transpose(2, 0, 1))


MODES = {  # how it is stored, and the code where it is refused
    "1": ("png", None), "L": ("png", None), "LA": ("png", None), "P": ("png", None), "RGBA": ("png", None),
    "YCbCr": ("jpg", None), "CMYK": ("jpg", None), "LAB": ("tif", "image.range"), "PA": ("tif", None),
    "I;16": ("png", None), "I": ("tif", "image.range"), "F": ("tif", "image.range"),
}  # fmt: skip


def test_pictures_of_every_mode(make, cache):
    files = {}
    for number, (mode, (ending, _)) in enumerate(MODES.items()):
        name = mode.replace(";", "-")
        grey = Image.fromarray(photo(number, SIZE, 1))
        picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else _of_mode(grey, mode)
        files[f"images/{name}.{ending}"] = picture
        files[f"masks/{name}.png"] = MASK
    found = inspect(make(files), cache=cache)
    refused = {f"images/{mode}.{ending}" for mode, (ending, code) in MODES.items() if code}
    assert codes(found) == {"image.range"}
    assert {file for one in of(found, "image.range") for file in one.files} == refused
    assert "scaled to the range that you mean" in of(found, "image.range")[0].fix


def _of_mode(grey: Image.Image, mode: str) -> Image.Image:
    return grey.convert("P").convert("PA") if mode == "PA" else grey.convert("RGB").convert(mode)


def test_deep_greys_keep_their_steps(make, cache):
    ramp = np.arange(48 * 64, dtype=np.uint16).reshape(SIZE) * 21
    root = make(good() | {"images/b.png": ramp})
    the(inspect(root, cache=cache), "image.depth", "note", "images/b.png", "scaled to 8")
    assert len(np.unique(read_image(root / "images/b.png", 1))) >= 200


def test_deep_colours_lose_their_low_bits_and_that_is_said(make, cache):
    deep = np.random.default_rng(0).integers(0, 65536, (*SIZE, 3))
    root = make(good() | {"images/b.png": deep_png(deep)})
    the(inspect(root, cache=cache), "image.depth", "note", "images/b.png", "scaled to 8")
    np.testing.assert_array_equal(read_image(root / "images/b.png", 3), (deep >> 8).transpose(2, 0, 1))


@pytest.mark.parametrize("strange", [0.5, np.nan, np.inf], ids=str)
def test_floats_ask_for_their_range(make, cache, strange):
    pixels = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(SIZE)
    pixels[3, 4] = strange
    found = inspect(make(with_image("b.tif", pixels)), cache=cache)
    assert "of kind 'F'" in the(found, "image.range", "error", "images/b.tif", "scaled to the range").message


def test_a_jpeg_in_printing_colours_looks_as_before(make, cache):
    """Less than a just noticeable difference or two (CIEDE2000) from the picture that was converted."""
    before = scene(1, SIZE)
    root = make(with_image("b.jpg", encoded(Image.fromarray(before).convert("CMYK"), "JPEG", quality=95)))
    assert not inspect(root, cache=cache).failed
    after = read_image(root / "images/b.jpg", 3).transpose(1, 2, 0)
    assert deltaE_ciede2000(rgb2lab(before), rgb2lab(after)).mean() < 5


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3, 3)], ids=str)
def test_slivers_are_named_and_padded(make, cache, size):
    """That any network answers them in their own size: tests/models/test_contract.py."""
    files = {"images/b.png": photo(1, size), "masks/b.png": labels([0, 1, 2], size)}
    found = inspect(make(good() | files), cache=cache)
    the(found, "image.tiny", "warning", "images/b.png", "padded")
    assert not found.failed


def test_odd_sizes_are_no_fault(make, cache):
    sizes = dict(zip(NAMES, [(27, 80), (33, 50), (35, 37), (101, 41), (64, 33)], strict=True))
    files = {f"images/{name}.png": photo(n, size) for n, (name, size) in enumerate(sizes.items())}
    found = inspect(
        make(files | {f"masks/{name}.png": labels([0, 1, 2], size) for name, size in sizes.items()}), cache=cache
    )
    [one] = of(found, "image.sizes")
    assert (one.severity, one.count, found.failed) == ("note", 5, False)


# ---- names and places -----------------------------------------------------------------------------------------------


def test_what_other_programs_leave_behind_is_counted(make, cache):
    junk = dict.fromkeys(("images/.DS_Store", "images/._a.png", "masks/Thumbs.db", "desktop.ini"), "x")
    found = inspect(make(good() | junk), cache=cache)
    [one] = of(found, "file.junk")
    assert (one.severity, one.count) == ("note", 4)
    assert "passed over" in one.fix
    assert (sum(found.parts.values()), found.failed) == (len(NAMES), False)


def test_an_accent_may_be_written_in_two_ways(make, cache):
    names = ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{GREEK SMALL LETTER ALPHA WITH TONOS}", "\N{SNOWMAN}"]
    files = {f"images/{name}.png": photo(n, SIZE) for n, name in enumerate(names)}
    files |= {f"masks/{unicodedata.normalize('NFD', name)}.png": MASK for name in names}
    found = inspect(make(files), cache=cache)
    assert (sum(found.parts.values()), found.failed) == (3, False)


def test_a_name_as_long_as_names_can_be(make, cache):
    long = "n" * 251
    assert not inspect(
        make(good() | {f"images/{long}.png": photo(9, SIZE), f"masks/{long}.png": MASK}), cache=cache
    ).failed


def test_a_name_cannot_speak_to_the_terminal(make, own_cache, capsys):
    root = make(good() | {'images/\x1b[2J\n"><script>.png': b""})
    assert cli.main(["inspect", str(root)]) == 2
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert '[2J\N{REPLACEMENT CHARACTER}"><script>.png' in said


def test_endings_in_capitals(make, cache):
    files = {place.replace(".png", ".PNG" if "a." in place else ".Png"): one for place, one in good().items()}
    found = inspect(make(files), cache=cache)
    assert (sum(found.parts.values()), found.failed) == (len(NAMES), False)


def test_lonely_files_are_counted_and_twenty_are_listed(make, cache):
    [one] = of(
        inspect(make(good() | {f"images/x{n:02}.png": photo(n) for n in range(25)}), cache=cache), "pair.missing"
    )
    assert (one.severity, one.count, one.files) == ("error", 25, tuple(f"images/x{n:02}.png" for n in range(20)))
    assert "25 images without a mask" in one.message
    assert "Add or remove" in one.fix


def test_one_pair_is_too_few(make, cache):
    [one] = of(inspect(make({"images/a.png": photo(1, SIZE), "masks/a.png": MASK}), cache=cache), "part.few")
    assert one.severity == "error"
    assert "1 image, too few for a train and a val part" in one.message
    assert "Add images" in one.fix


def test_two_hundred_folders_deep(make, cache):
    deep = "d/" * 200
    found = inspect(make({place.replace("/", f"/{deep}"): one for place, one in good().items()}), cache=cache)
    assert (sum(found.parts.values()), found.failed) == (len(NAMES), False)
    assert len(found.records[0].key.split("/")) == 202


@pytest.mark.parametrize(
    "line", ['"b"', "C:\\data\\images\\b.png", "images/x.png"], ids=["quoted", "windows", "unknown"]
)
def test_a_line_of_a_list_that_names_nothing(make, cache, line):
    """Marks of the byte order and of Windows' ends of lines are none."""
    lists = {"train.txt": f"\ufeffa\r\n{line}\r\nc\r\n", "val.txt": "d\r\ne\r\n"}
    root = make(good() | lists | {"data.yaml": "splits: {train: train.txt, val: val.txt}\n"})
    one = the(inspect(root, cache=cache), "part.list", "error", "train.txt:2", "A key is 'images/a'")
    assert "no image is called" in one.message
    (root / "train.txt").write_bytes("\ufeffa\r\nb\r\nc\r\n".encode())
    assert not inspect(root, cache=cache).failed


def test_a_folder_that_may_not_be_listed(make, cache, monkeypatch):
    root, real = make(good() | {"more/images/x.png": photo(1)}), os.scandir

    def refuse(path="."):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = inspect(root, cache=cache)
    the(found, "file.unreadable", "error", "more", "Make it readable, or remove it")
    assert found.dataset is not None
