"""A device's name -> the device, its fast precision, its threads, and a record of the machine.

Nothing here runs on import: whoever trains or predicts calls it for the own process.
"""

import ctypes
import math
import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from segtrial.errors import DeviceError, UnknownName

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Names that `pick_device` takes; `cuda:1` and so on as well."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Names of the types that a network computes in. Beside them: "auto"."""

_CPUINFO = Path("/proc/cpuinfo")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMINFO = Path("/proc/meminfo")
_MEMORY_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # <malloc.h> of glibc


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name: "auto" is the first GPU, else Apple's, else the CPU.

    Raises UnknownName for another word, and DeviceError for a device that is not there: a run that was
    asked to use a GPU never falls back to the CPU in silence.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UnknownName("device", name, (*DEVICES, "cuda:1"))
    if name == "mps" and not _has_mps():
        raise DeviceError("device mps", "this machine, or this torch, has no Apple GPU", "Use auto or cpu")
    if name.startswith("cuda"):
        _require_cuda(name)
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The type a network computes in: "float32", "bfloat16", or what is fast on `device` for "auto".

    Auto is bfloat16 where the hardware multiplies it (x86 with avx512_bf16 or AMX; CUDA capability >= 8),
    2.5x on a training step of a U-Net on two such cores; elsewhere it would be emulated, so float32.
    """
    if name == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise UnknownName("precision", name, ("auto", *PRECISIONS))
    return PRECISIONS[name]


def keep_memory() -> bool:
    """Let malloc keep freed memory instead of handing it back; True if done (glibc only).

    glibc gives each large block its own mmap and unmaps it when freed, so that every big tensor pays for
    fresh pages, 8x slower than used ones. With M_MMAP_MAX = 0 and M_TRIM_THRESHOLD = -1 (never, see
    mallopt(3)) blocks come from a heap that stays: 1.5 to 1.7x on a plain training step. The price: memory
    once used stays with the process, so call it in processes that train or predict, never on import.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, -1) == 1


def threads() -> int:
    """How many threads pay off here: OMP_NUM_THREADS, else the physical cores that this process may use.

    Two hyper-threads of one core count once. CPU affinity (taskset) and a container's CPU quota count.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return min(_usable_cores(), _quota(_CPU_QUOTA))


def require_memory(needed: int, device: torch.device, what: str) -> None:
    """Raise DeviceError if `what` needs more bytes than the device has at all, whatever else is on it."""
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        there = (_memory_gib() or math.inf) * 2**30
    if needed > there:
        found = f"{what} needs {needed / 2**30:.1f} GiB for its weights, and there are {there / 2**30:.1f}"
        raise DeviceError(f"memory of {device}", found, "Choose a smaller network")


def free_bytes() -> int:
    """Memory that this computer has to spare for this process: what Linux says, within its container's limit.

    Elsewhere half of all there is.
    """
    told = re.search(r"^MemAvailable:\s*(\d+) kB$", _MEMINFO.read_text(), re.MULTILINE) if _MEMINFO.exists() else None
    spare = int(told[1]) * 1024 if told else int((_memory_gib() or 1) * 2**30 / 2)
    limit, used = (file.read_text().strip() if file.exists() else "max" for file in _MEMORY_OF_CONTAINER)
    return spare if "max" in (limit, used) else max(0, min(spare, int(limit) - int(used)))


def describe() -> dict[str, object]:
    """What the machine and its software are, for environment.json: no host name, no path, no user."""
    return {
        "schema": 1,
        "segtrial": version("segtrial"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": _usable_cores(),
        "memory_gib": _memory_gib(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _require_cuda(name: str) -> None:
    there = torch.cuda.device_count()
    if there == 0:
        raise DeviceError(f"device {name}", "torch sees no CUDA GPU", "Use auto or cpu, or install a driver")
    index = int(name.partition(":")[2] or 0)
    if index >= there:
        raise DeviceError(f"device {name}", f"there are {there} GPUs", f"Use cuda:0 to cuda:{there - 1}")


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())


def _cpu_flags() -> set[str]:
    """The instruction sets Linux lists; empty elsewhere."""
    return set(_cpu_field("flags").split())


def _cpu_name() -> str:
    return _cpu_field("model name") or platform.processor() or platform.machine()


def _cpu_field(field: str) -> str:
    if not _CPUINFO.exists():
        return ""
    found = re.search(rf"^{field}\s*:\s*(.*)$", _CPUINFO.read_text(), re.MULTILINE)
    return found[1].strip() if found else ""


def _usable_cores() -> int:
    """Physical cores among the CPUs of this process's affinity mask."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """What hyper-threads of one core have in common: "0,4" for CPUs 0 and 4; the CPU itself if not told."""
    told = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return told.read_text().strip() if told.exists() else str(cpu)


def _quota(file: Path) -> int:
    """Whole CPUs of a container's quota ("200000 100000" is 2), or a large number where there is none."""
    words = file.read_text().split() if file.exists() else ["max"]
    return sys.maxsize if words[0] == "max" else max(1, int(words[0]) // int(words[1]))


def _memory_gib() -> float | None:
    if os.name != "posix":
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
