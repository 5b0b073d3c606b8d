"""Devices that are asked for are there or refused; the machine is described without naming it."""

import json
import os
import platform
import socket
import subprocess
import sys

import pytest
import torch

from segtrial import hardware
from segtrial.errors import DeviceError, UnknownName
from segtrial.hardware import describe, keep_memory, pick_device, pick_precision, threads

CPU = torch.device("cpu")


def test_cpu_is_always_there():
    assert pick_device("cpu") == CPU


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type in ("cpu", "mps")


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match=f"device {name}: torch sees no CUDA GPU. Use auto or cpu"):
        pick_device(name)


def test_a_gpu_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match=r"device cuda:2: there are 2 GPUs. Use cuda:0 to cuda:1"):
        pick_device("cuda:2")


def test_apples_gpu_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"device mps: .* no Apple GPU. Use auto or cpu"):
        pick_device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "CPU", ""])
def test_another_word_is_refused_with_the_list(name):
    with pytest.raises(UnknownName, match="There are: auto, cpu, cuda, cuda:1, mps"):
        pick_device(name)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2", "avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
        ({"avx2", "avx512f"}, torch.float32),
        (set(), torch.float32),
    ],
)
def test_auto_precision_on_a_cpu_follows_its_instructions(flags, expected, monkeypatch):
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: flags)
    assert pick_precision("auto", CPU) == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_precision_on_a_gpu_follows_its_capability(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_precision("auto", torch.device("cuda")) == expected


def test_a_named_precision_is_taken_and_another_refused():
    assert pick_precision("float32", CPU) == torch.float32
    assert pick_precision("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(UnknownName, match=r"precision 'float16'.*There are: auto, bfloat16, float32"):
        pick_precision("float16", CPU)


def test_threads_are_what_was_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3


def test_threads_without_a_word_fit_the_cpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= threads() <= (os.cpu_count() or 1)


def test_hyper_threads_of_one_core_count_once(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 4, 5, 6}, raising=False)
    monkeypatch.setattr(hardware, "_siblings", lambda cpu: f"{cpu % 4},{cpu % 4 + 4}")
    assert threads() == 3  # cores 0, 1 and 2; CPU 6 is the only one of core 2 that may be used


@pytest.mark.parametrize(("words", "cpus"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", sys.maxsize)])
def test_a_containers_quota_is_read(words, cpus, tmp_path):
    (tmp_path / "cpu.max").write_text(words)
    assert hardware._quota(tmp_path / "cpu.max") == cpus
    assert hardware._quota(tmp_path / "absent") == sys.maxsize


MEASURE = """
import ctypes, re
from segtrial.hardware import keep_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
def left_by_a_freed_block():
    before = resident()
    block = libc.malloc(ctypes.c_size_t(96 * 2**20))
    ctypes.memset(block, 1, 96 * 2**20)
    libc.free(block)
    return resident() - before
print(left_by_a_freed_block(), keep_memory(), left_by_a_freed_block())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory_stays_with_the_process():
    told = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, check=True, text=True).stdout.split()
    assert told[1] == "True"
    assert int(told[0]) < 10 < 90 < int(told[2])  # MiB


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_memory() is False


def test_the_description_is_plain_and_names_no_machine():
    text = json.dumps(describe(), allow_nan=False)
    assert list(json.loads(text)) == [
        "schema",
        "segtrial",
        "python",
        "torch",
        "numpy",
        "system",
        "cpu",
        "cores",
        "memory_gib",
        "gpus",
    ]
    assert json.loads(text)["torch"] == torch.__version__
    if len(socket.gethostname()) > 4:  # "vm" may well be part of a CPU's name
        assert socket.gethostname() not in text
    assert os.path.expanduser("~") not in text


def test_a_network_larger_than_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(hardware, "_memory_gib", lambda: 8.0)
    hardware.require_memory(8 * 2**30, torch.device("cpu"), "unet")
    with pytest.raises(
        DeviceError, match=r"unet needs 9\.0 GiB for its weights, and there are 8\.0\. Choose a smaller"
    ):
        hardware.require_memory(9 * 2**30, torch.device("cpu"), "unet")


@pytest.mark.parametrize(
    ("available", "limit", "used", "expected"),
    [
        (2048, None, None, 2048 * 1024),
        (2048, "max", "5", 2048 * 1024),
        (2048, "1000000", "400000", 600_000),
        (2048, "1000", "400000", 0),
        (4, "1000000", "400000", 4096),
    ],
)
def test_spare_memory_is_what_linux_says_within_the_containers_limit(
    tmp_path, monkeypatch, available, limit, used, expected
):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:  9999 kB\nMemAvailable:   {available} kB\nCached: 7 kB\n")
    for name, text in (("memory.max", limit), ("memory.current", used)):
        if text:
            (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(hardware, "_MEMINFO", meminfo)
    monkeypatch.setattr(hardware, "_MEMORY_OF_CONTAINER", (tmp_path / "memory.max", tmp_path / "memory.current"))
    assert hardware.free_bytes() == expected


def test_where_nobody_tells_half_of_the_memory_is_taken_to_be_spare(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(hardware, "_MEMORY_OF_CONTAINER", (tmp_path / "none", tmp_path / "none"))
    monkeypatch.setattr(hardware, "_memory_gib", lambda: 8.0)
    assert hardware.free_bytes() == 4 * 2**30
