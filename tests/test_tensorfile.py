"""The file format against the safetensors library, and against bytes that mean harm."""

import io
import json
import pickle
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial import tensorfile
from segtrial.errors import ModelFileError
from segtrial.tensorfile import (
    DTYPES,
    bytes_to_tensors,
    load_tensors,
    read_header,
    save_tensors,
    tensors_to_bytes,
)

INFO = {"step": 3, "words": ["ä", '"', "\n"], "nested": {"none": None, "pi": 3.14159}}


def some_tensors() -> dict[str, torch.Tensor]:
    numbers = torch.Generator().manual_seed(0)
    tensors = {f"of {dtype}": torch.randint(0, 2, (3, 2), generator=numbers).to(dtype) for dtype in DTYPES.values()}
    return tensors | {
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "weight": torch.randn(5, 3, 2, 2, generator=numbers),
    }


DATA = tensors_to_bytes(some_tensors(), INFO)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and bits(left[name]) == bits(right[name])
        for name in left
    )


def test_every_type_comes_back_bit_for_bit(tmp_path):
    tensors = some_tensors()
    save_tensors(tmp_path / "t.safetensors", tensors, INFO)
    loaded, info = load_tensors(tmp_path / "t.safetensors")
    assert same(loaded, tensors)
    assert info == INFO
    assert [path.name for path in tmp_path.iterdir()] == ["t.safetensors"]


def test_odd_floats_come_back_bit_for_bit():
    odd = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    odd_bits = torch.tensor([0x7FC00001, 0x7FA00000], dtype=torch.int32).view(torch.float32)  # NaNs with a payload
    loaded, _ = bytes_to_tensors(tensors_to_bytes({"a": odd, "b": odd_bits}, {}), "x")
    assert same(loaded, {"a": odd, "b": odd_bits})


def test_the_library_reads_our_files():
    assert same(safetensors.torch.load(DATA), some_tensors())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(48.0).reshape(2, 3, 2, 4).to(memory_format=torch.channels_last),
        torch.arange(12.0).reshape(3, 4).t(),
        torch.arange(12.0)[3:7],
        torch.arange(3.0).expand(4, 3),
        torch.ones(2, requires_grad=True),
    ],
    ids=["channels_last", "transposed", "slice", "expanded", "with gradient"],
)
def test_any_layout_is_kept_by_its_values(tensor):
    loaded, _ = bytes_to_tensors(tensors_to_bytes({"x": tensor, "same storage": tensor}, {}), "x")
    assert torch.equal(loaded["x"], tensor)
    assert torch.equal(loaded["same storage"], tensor)
    assert loaded["x"].is_contiguous()


def test_bytes_do_not_depend_on_order():
    tensors = some_tensors()
    backwards = {name: tensors[name] for name in reversed(tensors)}
    assert tensors_to_bytes(tensors, INFO) == tensors_to_bytes(backwards, dict(reversed(INFO.items())))


def test_every_tensor_is_aligned_to_its_width(tmp_path):
    (tmp_path / "t.safetensors").write_bytes(DATA)
    header = read_header(tmp_path / "t.safetensors")
    assert [name for name, entry in header.entries.items() if (header.start + entry.begin) % entry.dtype.itemsize] == []


def test_the_header_alone_tells_types_and_shapes(tmp_path):
    (tmp_path / "t.safetensors").write_bytes(DATA)
    header = read_header(tmp_path / "t.safetensors")
    assert {name: (entry.dtype, entry.shape) for name, entry in header.entries.items()} == {
        name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in some_tensors().items()
    }
    assert header.info == INFO


def test_loaded_tensors_can_be_written_to():
    first, _ = bytes_to_tensors(DATA, "x")
    first["weight"].zero_()
    assert bytes_to_tensors(DATA, "x")[0]["weight"].any()


def test_a_file_overwritten_while_its_tensors_live_does_not_change_them(tmp_path):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"x": torch.ones(1000)}, {})
    loaded, _ = load_tensors(path)
    path.write_bytes(bytes(len(path.read_bytes())))
    assert loaded["x"].eq(1).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_numbers_are_refused_when_asked(value, dtype):
    data = tensors_to_bytes({"good": torch.ones(3), "bad.weight": torch.tensor([1, value]).to(dtype)}, {})
    assert set(bytes_to_tensors(data, "x")[0]) == {"good", "bad.weight"}
    with pytest.raises(ModelFileError, match=r"m\.file: NaN or infinite values in bad\.weight\. .*diverged"):
        bytes_to_tensors(data, "m.file", finite=True)


# ---- damage


@pytest.mark.parametrize("length", [*range(12), 100, 1000, *range(1, len(DATA), 97), len(DATA) - 1])
def test_a_file_cut_short_is_refused(length):
    with pytest.raises(ModelFileError, match=r"^cut: (an empty file|cut short \(\d+ bytes).*[Cc]opy or make it anew"):
        bytes_to_tensors(DATA[:length], "cut")


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_found(place, flip):
    damaged = bytearray(DATA)
    damaged[place] ^= flip
    with pytest.raises(ModelFileError, match=r"^bad: "):
        bytes_to_tensors(bytes(damaged), "bad")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    with pytest.raises(ModelFileError, match=r"^noise: "):
        bytes_to_tensors(noise, "noise")


def test_bytes_after_the_end_are_refused():
    with pytest.raises(ModelFileError, match=r"followed by other bytes \(\d+ bytes, the header speaks of \d+\)"):
        bytes_to_tensors(DATA + b"PK", "long")


# ---- headers that lie


def crafted(table: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def row(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


META = {"segtrial": "{}", "sha256": "0" * 64}
LIES = {
    "length 2^63": (crafted({}, length=2**63), r"a header of 9223372036854775808 bytes\. At most"),
    "length over the limit": (crafted({}, length=5 * 2**20), r"a header of 5242880 bytes"),
    "length beyond the file": (crafted({}, length=1000), r"cut short \(10 bytes, the header alone has 1008\)"),
    "not JSON": (crafted(b"{not json}"), r"not sound JSON"),
    "not UTF-8": (crafted(b'{"\xff": 1}'), r"not sound JSON"),
    "deep nesting": (crafted(b'{"a":' + b"[" * 500_000), r"not sound JSON"),
    "huge number": (crafted(b'{"a":' + b"9" * 100_000 + b"}"), r"not sound JSON"),
    "NaN": (crafted(b'{"a": NaN}'), r"NaN is not JSON"),
    "repeated name": (
        crafted(b'{"w": %s, "w": %s}' % ((json.dumps(row()).encode(),) * 2), bytes(16)),
        r"repeated name 'w'",
    ),
    "many names, one twice": (
        crafted(b"{" + b",".join(b'"%x":0' % n for n in [*range(300_000), 7]) + b"}"),
        r"repeated name '7'",
    ),
    "too many tensors": (
        crafted({f"{n:x}": 0 for n in range(100_000)}),
        r"100000 tensors\. At most 20000",
    ),
    "shape overflow": (
        crafted({"w": row("F32", [4194305, 4194305, 211106198978564], [0, 8])}, bytes(8)),
        r"tensor 'w' of shape \[4194305, 4194305, 211106198978564\] and F32 has 8 bytes",
    ),
    "negative shape": (crafted({"w": row(shape=[-2, -1])}, bytes(8)), r"no sound shape"),
    "boolean shape": (crafted({"w": row(shape=[True, 2])}, bytes(8)), r"no sound shape"),
    "fractional shape": (crafted({"w": row(shape=[2.0])}, bytes(8)), r"no sound shape"),
    "shape is a word": (crafted({"w": row(shape="2")}, bytes(8)), r"no sound shape"),
    "unknown dtype": (crafted({"w": row(dtype="object")}, bytes(8)), r"has dtype 'object', not one of F64"),
    "dtype is a list": (crafted({"w": row(dtype=["F32"])}, bytes(8)), r"has dtype \['F32'\]"),
    "overlap": (crafted({"a": row(), "b": row(offsets=(4, 12))}, bytes(12)), r"'b' begins at byte 4 .*not at 8"),
    "hole": (crafted({"a": row(), "b": row(offsets=(12, 20))}, bytes(20)), r"'b' begins at byte 12"),
    "data beyond the end": (crafted({"a": row("U8", [10**12], [0, 10**12])}, b"x"), r"cut short"),
    "row is a number": (crafted({"w": 3}), r"lacks dtype, shape or data_offsets"),
    "row has more": (crafted({"w": row() | {"call": "os.system"}}, bytes(8)), r"lacks dtype, shape"),
    "no metadata": (safetensors.torch.save({"w": torch.ones(2)}), r"safetensors file of another program"),
    "metadata is a list": (crafted({"__metadata__": []}), r"of another program"),
    "metadata holds numbers": (crafted({"__metadata__": {"segtrial": 3}}), r"of another program"),
    "no checksum": (crafted({"__metadata__": {"segtrial": "{}"}}), r"no checksum"),
    "wrong checksum": (crafted({"__metadata__": META}), r"checksum does not match"),
    "our object is a list": (crafted({"__metadata__": META | {"segtrial": "[]"}}), r"not a JSON object"),
}


@pytest.mark.parametrize(("data", "message"), LIES.values(), ids=LIES.keys())
def test_a_header_that_lies_is_refused_at_once(data, message, tmp_path):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(data)
    start = time.monotonic()
    with pytest.raises(ModelFileError, match=message) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert time.monotonic() - start < 3  # the target is 1 s; this machine may be busy


# ---- other formats, some of which run code when opened


class Bomb:
    """Touches a file when unpickled."""

    def __init__(self, sentinel: Path):
        self.sentinel = sentinel

    def __reduce__(self):
        return Path.touch, (self.sentinel,)


def zipped(data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("data.pkl", data)
    return held.getvalue()


def in_tar(data: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return held.getvalue()


def saved_by(save: object, value: object, **options: object) -> bytes:
    held = io.BytesIO()
    save(value, held, **options)  # pyright: ignore[reportCallIssue]
    return held.getvalue()


FOREIGN = {
    **{f"pickle protocol {n}": (lambda bomb, n=n: pickle.dumps(bomb, n), "pickle.*never loaded") for n in range(2, 6)},
    "pickle protocol 0": (lambda bomb: pickle.dumps(bomb, 0), "not a safetensors file"),
    "torch.save": (lambda bomb: saved_by(torch.save, bomb), "a zip archive, as torch.save.*never loaded"),
    "old torch.save": (
        lambda bomb: saved_by(torch.save, bomb, _use_new_zipfile_serialization=False),
        "a pickle.*never loaded",
    ),
    "zip": (lambda bomb: zipped(pickle.dumps(bomb)), "a zip archive"),
    "tar": (lambda bomb: in_tar(pickle.dumps(bomb)), "not a safetensors file"),
    "gzip": (lambda bomb: __import__("gzip").compress(pickle.dumps(bomb)), "a compressed file.*never loaded"),
    "zlib": (lambda bomb: __import__("zlib").compress(pickle.dumps(bomb)), "a compressed file.*never loaded"),
    "array of objects": (
        lambda bomb: saved_by(lambda v, f: np.save(f, np.array([v]), allow_pickle=True), bomb),
        "a NumPy array",
    ),
    "web page": (lambda bomb: b"<!DOCTYPE html><title>404</title>", "a text file"),
    "JSON": (lambda bomb: b'{"_target_": "os.system"}', "a text file"),
    "image": (lambda bomb: b"\x89PNG\r\n\x1a\n" + bytes(30), "an image"),
}


@pytest.mark.parametrize(("make", "message"), FOREIGN.values(), ids=FOREIGN.keys())
def test_another_format_is_named_and_runs_nothing(make, message, tmp_path):
    sentinel, path = tmp_path / "sentinel", tmp_path / "model.safetensors"
    path.write_bytes(make(Bomb(sentinel)))
    with pytest.raises(ModelFileError, match=message):
        load_tensors(path)
    assert not sentinel.exists()


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "sentinel")))
    assert (tmp_path / "sentinel").exists()


# ---- things that are not files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"absent\.safetensors: there is no such file"):
        load_tensors(tmp_path / "absent.safetensors")


def test_a_folder_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r": a folder\. Name the \.safetensors file in it"):
        load_tensors(tmp_path)


def test_a_dangling_link_is_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="link: there is no such file"):
        load_tensors(tmp_path / "link")


def test_a_pipe_does_not_block(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelFileError, match=r"pipe\.safetensors: not a regular file"):
        load_tensors(tmp_path / "pipe.safetensors")


def test_a_huge_hole_of_a_file_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(DATA)
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="followed by other bytes"):
        load_tensors(path)


def test_what_we_write_is_within_what_we_read():
    with pytest.raises(AssertionError):
        tensors_to_bytes({}, {"long": "x" * tensorfile.LONGEST_HEADER})
