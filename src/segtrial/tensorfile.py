"""Named tensors and a JSON object <-> the bytes of one safetensors file; hostile bytes end in an error (law 4).

    8 bytes   length of the header, little endian
    header    JSON: per tensor its dtype, shape and place; under __metadata__ our object and a checksum
    data      the tensors' bytes, end to end

The format is https://github.com/huggingface/safetensors; any reader of it can open these files. The header is
checked here in full before the library sees a byte. The checksum covers every byte of the file, the header's
included (it is taken with zeros in its own place), so a flipped bit anywhere is found. Equal tensors and equal
objects give equal bytes. Models and training state alike are kept this way.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from segtrial.errors import ModelFileError, listing
from segtrial.files import write_atomic

LONGEST_HEADER = 4 * 2**20
"""Bytes. A thousand tensors need a tenth of a megabyte; JSON of this length cannot fill a memory."""

MOST_TENSORS = 20_000

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_NO_DIGEST = "0" * 64

_NEVER = "It can run code when opened, so it is never loaded"
_FOREIGN = {
    rb"PK\x03\x04": f"a zip archive, as torch.save writes it around a pickle. {_NEVER}",
    rb"\x80[\x00-\x05]": f"a pickle. {_NEVER}",
    rb"\x1f\x8b|x[\x01\x9c\xda]|BZh|\xfd7zXZ": f"a compressed file, as joblib writes it around a pickle. {_NEVER}",
    rb"\x93NUMPY": "a NumPy array",
    rb"\x89HDF": "an HDF5 file",
    rb"\x89PNG|\xff\xd8\xff": "an image",
    rb"\s*[<{\[]": "a text file",
}


@dataclass(frozen=True)
class Entry:
    """What a header says of one tensor; `begin` and `end` count bytes from the start of the data."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class FileHeader:
    """A checked header: its tensors in file order, our JSON object, the checksum, and where the data start."""

    entries: dict[str, Entry]
    info: dict[str, Any]
    digest: str
    start: int


def tensors_to_bytes(tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> bytes:
    """The file's bytes. Tensors may lie on any device, in any memory format, and may share storage."""
    assert len(tensors) <= MOST_TENSORS
    # wide types first keep every tensor aligned to its own width
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    pieces = [_tensor_bytes(tensors[name]) for name in order]
    content = json.dumps(info, sort_keys=True, allow_nan=False, separators=(",", ":"))
    table: dict[str, object] = {"__metadata__": {"sha256": _NO_DIGEST, "segtrial": content}}
    begin = 0
    for name, piece in zip(order, pieces, strict=True):
        shape, code = list(tensors[name].shape), _CODES[tensors[name].dtype]
        table[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, begin + len(piece)]}
        begin += len(piece)
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    assert len(header) <= LONGEST_HEADER
    blank = b"".join([len(header).to_bytes(8, "little"), header, *pieces])
    return blank.replace(_NO_DIGEST.encode(), hashlib.sha256(blank).hexdigest().encode(), 1)


def bytes_to_tensors(
    data: bytes, place: str | Path, *, finite: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU, contiguous) and the JSON object of `tensors_to_bytes`.

    Raises ModelFileError, naming `place`, for anything else: another format, damage, an edit. With `finite`,
    for NaN and infinite values too.
    """
    header = _check_header(data[: 8 + LONGEST_HEADER], len(data), place)
    if _digest_of(data, header.digest) != header.digest:
        raise ModelFileError(place, "the checksum does not match: damaged or edited", "Copy or make it anew")
    return _parsed(data, place, finite), header.info


def save_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write the file atomically. Raises RunError if it cannot be written."""
    write_atomic(path, tensors_to_bytes(tensors, info))


def load_tensors(path: Path, *, finite: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file; like `bytes_to_tensors`. The header is checked before the data is read."""
    read_header(path)
    return bytes_to_tensors(_read(path, None), path, finite=finite)


def read_header(path: Path) -> FileHeader:
    """The checked header of a file, without its tensors. Raises ModelFileError if it is not sound."""
    _require_file(path)
    return _check_header(_read(path, 8 + LONGEST_HEADER), path.stat().st_size, path)


def is_ours(path: Path) -> bool:
    """Whether Segtrial wrote a safetensors file. Raises ModelFileError if its table of tensors is not sound."""
    _require_file(path)
    return _ours(_check_table(_read(path, 8 + LONGEST_HEADER), path.stat().st_size, path)[1])


def load_foreign(path: Path) -> tuple[dict[str, Tensor], str]:
    """The finite tensors of another program's safetensors file, and the SHA-256 of its bytes.

    Checked like a file of ours, except that there is no checksum to compare with. Raises ModelFileError.
    """
    _require_file(path)
    data = _read(path, None)
    _check_table(data[: 8 + LONGEST_HEADER], len(data), path)
    return _parsed(data, path, finite=True), hashlib.sha256(data).hexdigest()


def _parsed(data: bytes, place: str | Path, finite: bool) -> dict[str, Tensor]:
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # whatever a parser makes of bytes that we thought good
        raise ModelFileError(place, f"safetensors cannot read it ({error})", "Copy or make it anew") from error
    if finite:
        _require_finite(tensors, place)
    return tensors


def _tensor_bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _digest_of(data: bytes, digest: str) -> str:
    """The checksum of a file, taken with zeros where the header keeps `digest`."""
    place = data.index(digest.encode())
    summed = hashlib.sha256(data[:place] + _NO_DIGEST.encode())
    summed.update(memoryview(data)[place + len(digest) :])
    return summed.hexdigest()


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ModelFileError(path, "a folder", "Name the .safetensors file in it")
    if not path.exists():
        raise ModelFileError(path, "there is no such file", "Check the name")
    if not path.is_file():
        raise ModelFileError(path, "not a regular file", "Name a .safetensors file")


def _read(path: Path, most: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(-1 if most is None else most)
    except OSError as error:
        raise ModelFileError(path, f"cannot be read ({error.strerror})", "Check its permissions") from error


def _check_header(head: bytes, size: int, place: str | Path) -> FileHeader:
    """Check everything that a header of ours claims against the file's `size`."""
    entries, metadata, start = _check_table(head, size, place)
    return FileHeader(entries, *_metadata(metadata, place), start)


def _check_table(head: bytes, size: int, place: str | Path) -> tuple[dict[str, Entry], Any, int]:
    """Tensors, metadata and start of the data, checked against `size` before anything is allocated by them."""
    length = _header_length(head, size, place)
    table = _parse(head[8 : 8 + length], place)
    metadata = table.pop("__metadata__", {})
    if len(table) > MOST_TENSORS:
        raise ModelFileError(place, f"{len(table)} tensors", f"At most {MOST_TENSORS} are read")
    entries = {name: _entry(name, row, place) for name, row in table.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise _broken(place, f"tensor {name!r:.80} begins at byte {entry.begin} of the data, not at {end}")
        end = entry.end
    if 8 + length + end != size:
        what = "cut short" if size < 8 + length + end else "followed by other bytes"
        raise _broken(place, f"{what} ({size} bytes, the header speaks of {8 + length + end})")
    return entries, metadata, 8 + length


def _header_length(head: bytes, size: int, place: str | Path) -> int:
    if not head:
        raise ModelFileError(place, "an empty file", "Copy or make it anew")
    length = int.from_bytes(head[:8], "little")
    if len(head) > 8 and head[8:9] == b"{" and length <= LONGEST_HEADER:
        if 8 + length > size:
            raise _broken(place, f"cut short ({size} bytes, the header alone has {8 + length})")
        return length
    for start, kind in _FOREIGN.items():
        if re.match(start, head):
            raise ModelFileError(place, f"not a safetensors file but {kind}", "Give a .safetensors file")
    if len(head) <= 8:
        raise _broken(place, f"cut short ({size} bytes)")
    if head[8:9] == b"{":
        raise ModelFileError(place, f"a header of {length} bytes", f"At most {LONGEST_HEADER} are read")
    raise ModelFileError(place, "not a safetensors file", "Give a .safetensors file")


def _parse(text: bytes, place: str | Path) -> dict[str, Any]:
    try:
        table = json.loads(text.decode(), object_pairs_hook=_without_doubles, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _broken(place, f"a header that is not sound JSON ({error})") from error
    if not isinstance(table, dict):
        raise _broken(place, "a header that is not a JSON object")
    return table


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"repeated name {name!r:.80}")
    return table


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _entry(name: str, row: Any, place: str | Path) -> Entry:
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise _broken(place, f"tensor {name!r:.80} lacks dtype, shape or data_offsets")
    shape, offsets = row["shape"], row["data_offsets"]
    if not isinstance(row["dtype"], str) or row["dtype"] not in DTYPES:
        raise _broken(place, f"tensor {name!r:.80} has dtype {row['dtype']!r:.80}, not one of {', '.join(DTYPES)}")
    if not (_whole_numbers(shape) and len(shape) <= 8 and _whole_numbers(offsets) and len(offsets) == 2):
        raise _broken(place, f"tensor {name!r:.80} has no sound shape or data_offsets")
    dtype, (begin, end) = DTYPES[row["dtype"]], offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise _broken(place, f"tensor {name!r:.80} of shape {shape} and {row['dtype']} has {end - begin} bytes")
    return Entry(dtype, tuple(shape), begin, end)


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _metadata(metadata: Any, place: str | Path) -> tuple[dict[str, Any], str]:
    if not _ours(metadata):
        raise ModelFileError(place, "a safetensors file of another program", "Give one that Segtrial wrote")
    digest = metadata.get("sha256")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise _broken(place, "no checksum")
    return _parse(metadata["segtrial"].encode(errors="replace"), place), digest


def _ours(metadata: Any) -> bool:
    return isinstance(metadata, dict) and isinstance(metadata.get("segtrial"), str)


def _require_finite(tensors: Mapping[str, Tensor], place: str | Path) -> None:
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        found = f"NaN or infinite values in {listing(sorted(bad), most=5)}"
        raise ModelFileError(place, found, "The training that made it diverged; use another file")


def _broken(place: str | Path, found: str) -> ModelFileError:
    return ModelFileError(place, found, "The file is damaged: copy or make it anew")
