"""A request's body (picture, form or tensor) -> images, in a process of its own that a hostile file may kill.

picture   the file itself                     -> one image `c h w`, uint8, as training reads it
form      multipart/form-data, field `image`  -> the same
tensors   JSON of the Open Inference Protocol -> one to eight images of one size
"""

import json
import logging
import math
import sys
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from segtrial.data.pictures import decode_image
from segtrial.errors import ImageError, Refused
from segtrial.prediction.folder import MOST_IMAGES
from segtrial.serving.workers import Frame, Handler

PICTURE, FORM, TENSORS = "picture", "form", "tensors"

FIELD = "image"
"""Of a form."""

INPUT = "images"
"""The one tensor that a model takes."""

MOST_PARTS, MOST_HEADERS, HEADER_BYTES = 16, 16, 8192
"""Of a form: parts, headers of a part, and bytes of one of them."""

BYTES_A_PIXEL = 64
"""Memory that decoding may take: pixels in every form on their way, a tensor's numbers."""

SENT = "the picture"
"""What errors call it: names of files are the client's."""

_FORM_FIX = f"Send one file in the field {FIELD!r}, or the file alone as the body"


def start(settings: dict[str, Any]) -> tuple[dict[str, Any], Handler]:
    """`settings`: the largest image in `pixels`. Memory beyond what that takes is refused by the system."""
    Image.MAX_IMAGE_PIXELS = settings["pixels"]
    warnings.simplefilter("ignore")  # of decoders, about files that are not ours
    logging.disable()
    _limit_memory(2**29 + BYTES_A_PIXEL * settings["pixels"])
    return {}, handle


def handle(header: dict[str, Any], buffers: list[bytes]) -> Frame:
    """A body -> `shape` (b c h w), what else was `asked`, and the pixels; or `refused`: status, what, found, fix."""
    asked: dict[str, Any] = {}
    try:
        if header["kind"] == TENSORS:
            images, asked = _tensors(buffers[0], header["channels"])
        else:
            file = _file_of(buffers[0], header["type"]) if header["kind"] == FORM else buffers[0]
            images = _picture(file, header["channels"])
    except Refused as error:
        return {"refused": [error.status, error.place, error.found, error.fix]}, []
    except ImageError as error:
        return {"refused": [422, error.place, error.found, error.fix]}, []
    except MemoryError:
        return {"refused": [422, SENT, "decoding it takes too much memory", "Send a smaller one"]}, []
    return {"shape": images.shape, "asked": asked}, [images.reshape(-1).data]


def _picture(file: bytes, channels: int) -> UInt8[np.ndarray, "1 c h w"]:
    if not file:
        raise Refused(400, SENT, "empty (0 bytes)", _FORM_FIX)
    return decode_image(SENT, file, channels)[None]


def _file_of(body: bytes, kind: str) -> bytes:
    """The file in the one field of a form. Raises Refused (400)."""
    boundary = parse_options_header(kind)[1].get(b"boundary", b"")
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary, parts.callbacks(), max_header_count=MOST_HEADERS, max_header_size=HEADER_BYTES
        )
        parser.write(body)
        parser.finalize()
    except (MultipartParseError, ValueError) as error:
        raise Refused(400, "the form", f"it cannot be read ({error!s:.120})", _FORM_FIX) from error
    if not parts.ended:
        raise Refused(400, "the form", "its end is missing", _FORM_FIX)
    names = [name for name, _ in parts.found]
    if names != [FIELD]:
        fields = ", ".join(repr(name)[:40] for name in names[:4]) or "no field"
        raise Refused(400, "the form", f"{len(names)} fields ({fields})", _FORM_FIX)
    return parts.found[0][1]


class _Parts:
    """Collects the fields of a form: name and content."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []
        self.ended = False
        self._name = self._header = self._value = b""
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, first, last: self._grow("_header", data[first:last]),
            "on_header_value": lambda data, first, last: self._grow("_value", data[first:last]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, first, last: self._data.append(data[first:last]),
            "on_part_end": lambda: self.found.append((self._name.decode("utf-8", "replace"), b"".join(self._data))),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) >= MOST_PARTS:
            raise Refused(400, "the form", f"more than {MOST_PARTS} fields", _FORM_FIX)
        self._name, self._data = b"", []

    def _grow(self, what: str, data: bytes) -> None:
        setattr(self, what, getattr(self, what) + data)

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name", b"")
        self._header = self._value = b""

    def _end(self) -> None:
        self.ended = True


def _tensors(body: bytes, channels: int) -> tuple[UInt8[np.ndarray, "b c h w"], dict[str, Any]]:
    """The request's one input; its `id` and the names of its `outputs`, where it has them.

    Raises Refused: 400 for what is no such request, 422 for numbers that are no image.
    """
    try:
        request = json.loads(body)
        (tensor,) = request["inputs"]
        name, datatype, shape, data = (tensor[key] for key in ("name", "datatype", "shape", "data"))
        sides = [int(side) for side in shape]
        outputs = [str(output["name"]) for output in request.get("outputs") or ()]
        asked = {"id": str(request["id"])[:200] if "id" in request else None, "outputs": outputs}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        found = f"not one input with name, datatype, shape and data ({type(error).__name__}: {error!s:.80})"
        raise Refused(400, "the request", found, "See the Open Inference Protocol, and GET /v2/models/NAME") from error
    if name != INPUT or datatype != "UINT8" or len(sides) != 4 or sides[1] != channels or min(sides) < 1:
        found = f"{str(name)[:40]!r} of type {str(datatype)[:20]!r} and shape {sides[:6]}"
        raise Refused(
            422, "the input", found, f"Send {INPUT!r}, UINT8, of shape [1 to {MOST_IMAGES}, {channels}, h, w]"
        )
    if sides[0] > MOST_IMAGES or sides[2] * sides[3] > Image.MAX_IMAGE_PIXELS:  # type: ignore[operator]
        most = f"{MOST_IMAGES} images of {Image.MAX_IMAGE_PIXELS} pixels"
        raise Refused(422, "the input", f"shape {sides}", f"Send at most {most}")
    return _numbers(data, sides), asked


def _numbers(data: Any, sides: list[int]) -> UInt8[np.ndarray, "b c h w"]:
    try:
        values = np.asarray(data)
    except ValueError:
        values = np.empty(0)
    if values.dtype.kind != "i" or values.size != math.prod(sides) or values.min() < 0 or values.max() > 255:
        found = f"{values.size} numbers of kind {values.dtype}"
        raise Refused(422, "data", found, f"Send {math.prod(sides)} whole numbers from 0 to 255, in rows")
    return np.ascontiguousarray(values.reshape(sides).astype(np.uint8))


def _limit_memory(more: int) -> None:
    """Let this process take at most `more` bytes beyond what it has; only Linux can say what that is."""
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = taken + more
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
