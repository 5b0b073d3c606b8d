"""Seeds and pictures -> the requests of clients, good ones and hostile ones, byte by byte, for serving.py."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIZES = ((32, 32), (32, 48), (48, 32), (64, 64), (40, 56), (96, 128))
KINDS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "grey", "palette", "turned")


def pictures(count: int, seed: int) -> list[bytes]:
    """Files of every size and kind, no two alike."""
    rng = np.random.default_rng(seed)
    return [_file(rng, SIZES[index % len(SIZES)], KINDS[index % len(KINDS)]) for index in range(count)]


def _file(rng: np.random.Generator, size: tuple[int, int], kind: str) -> bytes:
    rough = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    picture = Image.fromarray(rough).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    options: dict = {"lossless": True} if kind == "WEBP" else {}
    if kind == "turned":
        tags = Image.Exif()
        tags[0x0112] = int(rng.integers(1, 9))
        options = {"exif": tags}
    changed = {"grey": lambda: picture.convert("L"), "palette": lambda: picture.convert("P")}
    held = io.BytesIO()
    form = {"grey": "PNG", "palette": "PNG", "turned": "JPEG"}.get(kind, kind)
    changed.get(kind, lambda: picture)().save(held, form, **options)
    return held.getvalue()


def head(path: str, *headers: str, length: int | None = None, method: str = "POST", host: str = "127.0.0.1") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return "\r\n".join([*lines, *([] if length is None else [f"Content-Length: {length}"]), "", ""]).encode()


def posted(body: bytes, *headers: str, query: str = "", kind: str = "image/png", host: str = "127.0.0.1") -> bytes:
    return head(f"/predict{query}", f"Content-Type: {kind}", *headers, length=len(body), host=host) + body


def hostile(body: bytes) -> dict[str, tuple[bytes, tuple[int, ...]]]:
    """Requests that no sane client sends, and the statuses that answer them; none where the client leaves."""
    form = b'--xx\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    multipart = "multipart/form-data; boundary=xx"
    chunked = "Transfer-Encoding: chunked"
    chunks = b"".join(b"10000\r\n" + bytes(65536) + b"\r\n" for _ in range(20))
    return {
        "text": (posted(b"no picture"), (422,)),
        "truncated": (posted(body[: len(body) // 2]), (422,)),
        "bomb": (posted(bomb()), (422,)),
        "empty": (posted(b""), (400,)),
        "no type": (head("/predict", length=len(body)) + body, (415,)),
        "wrong type": (posted(body, kind="text/html"), (415,)),
        "too long": (posted(body, kind="image/png").replace(b"Content-Length: ", b"Content-Length: 9999999"), (413,)),
        "too long in chunks": (head("/predict", "Content-Type: image/png", chunked) + chunks, (413,)),
        "negative length": (posted(body).replace(b"Content-Length: ", b"Content-Length: -"), (400,)),
        "another site": (posted(body, "Origin: http://evil.example"), (403,)),
        "another name": (posted(body, host="evil.example"), (403,)),
        "unknown model": (posted(body, query="?model=..%2f..%2fetc%2fpasswd"), (422,)),
        "wrong opacity": (posted(body, query="?answer=overlay&opacity=nan"), (422,)),
        "traversal": (head("/page/..%2f..%2fserver.py", method="GET"), (404,)),
        "many headers": (head("/models", *["X: y"] * 5000, method="GET"), (400,)),
        "no HTTP": (b"\x16\x03\x01\r\n\r\n", (400,)),
        "many parts": (posted(form * 5000, kind=multipart), (400,)),
        "form without end": (posted(form + body, kind=multipart), (400,)),
        "reload": (posted(b"", kind="image/png").replace(b"/predict", b"/reload"), (403,)),
        "v2 of text": (head("/v2/models/run/infer", "Content-Type: application/json", length=2) + b"{}", (400,)),
        "leaves while sending": (posted(body)[: -len(body) // 2], ()),
        "leaves before the answer": (posted(body), ()),
    }


def bomb(side: int = 65536) -> bytes:
    """A PNG of a few bytes that claims side x side pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
