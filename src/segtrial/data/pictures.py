"""A picture file in, its pixels out, or an ImageError that names the file, what is wrong and the fix.

Files are hostile until decoded: the format is on a short list, the size is read from the header before
anything is decoded, several frames are refused, and decoding goes to the last byte (a truncated file shows).
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from segtrial.errors import ImageError, UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

PNG_START = b"\x89PNG\r\n\x1a\n"
STARTS = (PNG_START, b"\xff\xd8\xff", b"GIF8")
"""What files of known formats begin with."""
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 exchange height and width
SUBFILE, MOST_COPIES = 254, 32
"""The TIFF tag of which a set lowest bit says that a smaller copy follows; more copies than halvings there are not."""
GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"})
DEEP_GREY_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
CONVERTIBLE_MODES = frozenset({"RGB", "P", "CMYK", "YCbCr", "HSV", "RGBX"})
RANGE_FIX = "Save it as 8-bit or 16-bit PNG (scaled to the range that you mean)"


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded. `size` is (h, w), upright.

    `mode` is Pillow's; of colours of 16 bits a channel, which it halves, it is what the file holds (RGB;16B).
    """

    format: str
    mode: str
    size: tuple[int, int]
    turned: bool

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour (palettes count as colour)."""
        return 1 if self.mode in GREY_MODES else 3


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture with its header read and no pixel decoded. Raises ImageError; never blocks on a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ImageError(path, _unopened(path, error), "Restore the file, or remove it and its partner") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        _refuse(path, descriptor)
    with os.fdopen(descriptor, "rb") as file, opened_file(path, file) as picture:
        yield picture


@contextmanager
def opened_file(place: str | Path, file: io.BufferedReader | io.BytesIO) -> Iterator[Image.Image]:
    """As `opened`, for a file that is open already; errors call it `place`."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            _check_header(place, picture)
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(place, str(error)) from error
    except UnidentifiedImageError as error:
        raise _unidentified(place, file) from error
    except UserError:
        raise
    except Exception as error:  # decoders meet damage with whatever breaks first: ValueError, SyntaxError, TypeError
        raise _damaged(place, error) from error


def read_header(path: Path) -> Header:
    """Format, mode and upright size, without decoding."""
    with opened(path) as picture:
        return header_of(picture)


def header_of(picture: Image.Image) -> Header:
    """What an opened picture says of itself."""
    mode, turned = _stored_mode(picture), _orientation(picture) in (5, 6, 7, 8)
    width, height = picture.size
    size = (width, height) if turned else (height, width)
    return Header(picture.format or "", mode, size, turned)


def read_picture(path: Path) -> Image.Image:
    """The decoded picture in its own mode, turned upright by its EXIF orientation."""
    with opened(path) as picture:
        return upright(path, picture)


def read_image(path: Path, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """The pixels, 0 to 255, with 1 (grey) or 3 (RGB) channels.

    Opaque alpha is dropped and 16-bit grey is scaled, not clipped, to 8 bits. Raises ImageError for
    transparency, for float and 32-bit pixels, and for colour where grey was asked for.
    """
    return _pixels(path, read_picture(path), channels)


def decode_image(place: str | Path, data: bytes, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """As `read_image`, from the bytes of a file; errors call them `place`."""
    with opened_file(place, io.BytesIO(data)) as picture:
        return _pixels(place, upright(place, picture), channels)


def upright(place: str | Path, picture: Image.Image) -> Image.Image:
    """The opened picture, decoded to its last byte and turned by its EXIF orientation. Raises ImageError."""
    file = getattr(picture, "fp", None)
    try:
        picture.load()
        if picture.format == "PNG" and file is not None and not _has_end(file):
            raise ValueError("its end is missing")
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # decoders of damaged bytes raise anything, from KeyError to struct.error
        raise _damaged(place, error) from error


def _pixels(place: str | Path, picture: Image.Image, channels: int) -> UInt8[np.ndarray, "c h w"]:
    picture = plain_mode(place, picture)
    if channels == 3 and picture.mode == "L":
        picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] != channels:
        raise ImageError(place, f"it has {pixels.shape[2]} channels, not {channels}", "Give all images the same form")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # c h w


def has_alpha(picture: Image.Image) -> bool:
    """Whether there is an alpha channel, or a palette with transparent entries."""
    return picture.mode in ("LA", "RGBA", "PA") or (picture.mode == "P" and "transparency" in picture.info)


def lowest_alpha(picture: Image.Image) -> int:
    """The alpha of the most transparent pixel, 0 to 255, of a picture that has alpha."""
    return int(np.asarray(picture.convert("RGBA" if picture.mode == "P" else picture.mode).getchannel("A")).min())


def opaque(path: str | Path, picture: Image.Image) -> Image.Image:
    """The picture without its alpha channel. Raises ImageError if any pixel is transparent."""
    lowest = lowest_alpha(picture)
    if lowest != 255:
        found = f"it has transparent pixels (alpha down to {lowest} of 255)"
        raise ImageError(path, found, "Flatten it onto a background and save it without alpha")
    return picture.convert({"LA": "L", "RGBA": "RGB", "PA": "RGB", "P": "P"}[picture.mode])


def eight_bits(deep: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """0..65535 scaled to 0..255, rounded."""
    return ((deep.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def plain_mode(path: str | Path, picture: Image.Image) -> Image.Image:
    """The picture as L or RGB. Raises ImageError as `read_image` does."""
    if has_alpha(picture):
        picture = opaque(path, picture)
    if picture.mode in DEEP_GREY_MODES:
        return Image.fromarray(eight_bits(np.asarray(picture)))
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in CONVERTIBLE_MODES:
        return picture.convert("RGB")
    if picture.mode == "LAB":
        raise ImageError(path, "its pixels are of kind 'LAB'", "Save it as RGB")
    if picture.mode != "L":
        low, high = picture.getextrema()
        raise ImageError(path, f"its pixels are of kind {picture.mode!r} from {low} to {high}", RANGE_FIX)
    return picture


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. Pillow would decode a PNG for it; we do where it may lie behind the pixels."""
    file = getattr(picture, "fp", None)
    if picture.format == "PNG" and file is not None:
        kinds = _chunks(file)
        late = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else kinds
        if not {b"eXIf", b"tEXt", b"zTXt", b"iTXt"} & set(late):
            return Image.Image.getexif(picture).get(ORIENTATION, 1)
    return picture.getexif().get(ORIENTATION, 1)


def _has_end(file: io.IOBase) -> bool:
    """Whether an opened PNG goes on to its last chunk: Pillow is content with all the pixels."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - len(PNG_END)))
    return file.read() == PNG_END or b"IEND" in _chunks(file)


def _chunks(file: io.IOBase) -> list[bytes]:
    """The kinds of the chunks of an opened PNG, in order, as far as it goes."""
    place, kinds = file.tell(), []
    file.seek(len(PNG_START))
    while len(head := file.read(8)) == 8:
        kinds.append(head[4:])
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)  # and the checksum
    file.seek(place)
    return kinds


def _stored_mode(picture: Image.Image) -> str:
    """The mode of the pixels in the file."""
    tiles = getattr(picture, "tile", ())
    stored = tiles[0][3] if tiles else ""
    stored = stored[0] if isinstance(stored, tuple) and stored else stored
    return stored if isinstance(stored, str) and stored.startswith("RGB") and ";16" in stored else picture.mode


def _check_header(path: str | Path, picture: Image.Image) -> None:
    width, height = picture.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _bomb(path, f"{height}x{width} pixels")
    frames = _frames(picture)
    if frames > 1 and picture.format != "MPO":  # MPO: a camera's JPEG with a preview behind the photograph
        raise ImageError(path, f"it holds {frames} frames", "Save each frame as a file of its own")


def _frames(picture: Image.Image) -> int:
    """How many pictures a file holds, without the smaller copies of the first that a TIFF may have for viewers."""
    count = getattr(picture, "n_frames", 1)  # only the formats that can hold several have the attribute
    if picture.format != "TIFF" or not 1 < count <= MOST_COPIES:
        return count
    smaller = 0
    for number in range(1, count):
        picture.seek(number)
        smaller += int(picture.tag_v2.get(SUBFILE, 0)) & 1  # type: ignore[attr-defined]
    picture.seek(0)
    return count - smaller


def _bomb(path: str | Path, found: str) -> ImageError:
    limit = f"the limit is {Image.MAX_IMAGE_PIXELS} pixels"
    return ImageError(path, f"too large to decode safely ({found}; {limit})", "Cut it into tiles")


def _damaged(path: str | Path, error: Exception) -> ImageError:
    return ImageError(path, f"truncated or damaged ({error})", "Copy the file again from its source, or remove it")


def _refuse(path: Path, descriptor: int) -> NoReturn:
    mode = os.fstat(descriptor).st_mode
    os.close(descriptor)
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
    raise ImageError(path, f"it is {kind}, not a file", "Remove it")


def _unopened(path: Path, error: OSError) -> str:
    if path.is_symlink() and not path.exists():
        return f"broken link to {os.readlink(path)}"
    return f"cannot be opened ({error.strerror})"


def _plain(start: bytes) -> bool:
    """Whether it is text; PostScript and PDF, which begin with a %, are pictures of a kind."""
    return start[:1] != b"%" and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def _unidentified(place: str | Path, file: io.BufferedReader | io.BytesIO) -> ImageError:
    """The error for what no decoder takes."""
    file.seek(0)
    start = file.read(32)
    if start.startswith(STARTS):
        return _damaged(place, ValueError("little more is there than its beginning"))
    found = f"not a picture of a known format: it starts with {start[:8]!r}"
    if not start:
        found = "empty file (0 bytes)"
    elif start.lstrip()[:1] in (b"<", b"{", b"[") or _plain(start):
        found = f"not a picture but text: it starts with {start.decode('latin-1').strip()[:24]!r}"
    return ImageError(place, found, f"Put a picture there ({', '.join(FORMATS)})")
