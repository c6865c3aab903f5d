"""The machine that a number was measured on: software, processor, memory, graphics cards.

The only file that runs other programs or reads the environment of the machine.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from bench import ROOT, __version__

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "numba", "rapidfuzz",
    "pyctcdecode", "kenlm", "opencv-python-headless", "Pillow", "pyarrow", "Hershey-Fonts",
)  # fmt: skip
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Fields of nvidia-smi and their names in the record.
_CARD = {
    "driver_version": "driver",
    "clocks.max.sm": "max_sm_mhz",
    "clocks.max.memory": "max_memory_mhz",
    "power.limit": "power_limit_w",
}


def environment() -> dict[str, Any]:
    """Make the record for `env.json`: code, software and machine, as plain JSON values."""
    record = {
        "kaidoku": __version__,
        "git": _git(),
        "machine": machine(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "thread_variables": {name: os.environ.get(name) for name in THREAD_VARIABLES},
    }
    return {**record, "gpus": cards} if (cards := _gpu_cards()) else record


def best_device() -> str:
    """Choose "cuda" where it is there, else "cpu"; torch is asked only where a driver is."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def thread_count() -> int:
    """Count the threads that torch takes by default: $OMP_NUM_THREADS, else one a core."""
    own = os.environ.get("OMP_NUM_THREADS", "")
    if own.isdecimal() and int(own):
        return int(own)
    usable = _usable_cores()
    return min(psutil.cpu_count(logical=False) or usable, usable)


# What can change the numbers of a graphics card: products of float32 in float32, sums of half
# precision as cuBLAS chooses, and no search for the fastest convolution, whose result would depend
# on the widths that come first.
ARITHMETIC = {
    "tf32": False, "cudnn_tf32": False, "half_sums": True, "cudnn_benchmark": False,
}  # fmt: skip


def set_arithmetic() -> None:
    """Set the arithmetic of CUDA devices to `ARITHMETIC`."""
    import torch

    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    cuda.allow_tf32, cudnn.allow_tf32 = ARITHMETIC["tf32"], ARITHMETIC["cudnn_tf32"]
    cuda.allow_fp16_reduced_precision_reduction = ARITHMETIC["half_sums"]
    cuda.allow_bf16_reduced_precision_reduction = ARITHMETIC["half_sums"]
    cudnn.benchmark = ARITHMETIC["cudnn_benchmark"]


def free_memory_mib() -> float:
    """Memory available without swapping, in MiB."""
    return psutil.virtual_memory().available / 2**20


def gpu_clocks(device: str) -> dict[str, str]:
    """Clocks of a CUDA device now, in MHz ("sm_mhz", "memory_mhz"); {} where they are unknown."""
    if not device.startswith("cuda"):
        return {}
    import torch

    index = torch.device(device).index
    uuid = _gpu_uuid(torch.cuda.current_device() if index is None else index)
    read = _nvidia_smi("clocks.sm", "clocks.mem").get(uuid)
    return {"sm_mhz": read[0], "memory_mhz": read[1]} if read else {}


def machine() -> dict[str, Any]:
    """Describe the software and hardware that can change text or time.

    The record is part of every key, so values that change from boot to boot are left out.
    """
    gpu = _gpu()
    arithmetic = {"arithmetic": ARITHMETIC} if gpu else {}
    return arithmetic | {
        "os": [platform.system(), platform.machine(), *platform.libc_ver()],
        "python": platform.python_version(),
        "packages": {name: _installed(name) for name in PACKAGES},
        "cpu": _cpu(),
        "gpu": gpu,
    }


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    """Model, cores and the vector units that decide how fast a matrix product is."""
    model, flags = platform.processor(), ""
    if (info := Path("/proc/cpuinfo")).exists():
        fields: dict[str, str] = {}
        for line in info.read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
        model = fields.get("model name", model)
        flags = fields.get("flags", fields.get("Features", ""))
    units = ("avx", "amx", "neon", "asimd", "sve")
    return {
        "model": model,
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "units": sorted(flag for flag in flags.split() if flag.startswith(units)),
    }


def _usable_cores() -> int:
    """Count the logical cores of this process: a container or `taskset` may allow it only some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _gpu_cards() -> list[dict[str, Any]]:
    """Driver, highest clocks and power limit of each CUDA device, in torch's order.

    All values are constant from run to run. A device unknown to nvidia-smi has its name alone.
    """
    values_of = _nvidia_smi(*_CARD) if _gpu() else {}
    cards = []
    for index, name in enumerate(_gpu()):
        values = values_of.get(_gpu_uuid(index), [])
        cards.append({"name": name, **dict(zip(_CARD.values(), values, strict=False))})
    return cards


def _gpu_uuid(index: int) -> str:
    """UUID of a device, since nvidia-smi may number devices unlike torch."""
    import torch

    return f"GPU-{getattr(torch.cuda.get_device_properties(index), 'uuid', '')}"


def _nvidia_smi(*fields: str) -> dict[str, list[str]]:
    """Query fields of nvidia-smi by the device's UUID; {} without the program."""
    query = f"--query-gpu={','.join(('uuid', *fields))}"
    text = _output("nvidia-smi", query, "--format=csv,noheader,nounits")
    rows = [[value.strip() for value in line.split(",")] for line in (text or "").splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == len(fields) + 1}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout and whether tracked files differ from it; None outside of git.

    Untracked files, such as a table that was written into the checkout, do not count.
    """
    git = ("git", "-C", str(ROOT))
    commit = _output(*git, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _output(*git, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


def _output(*command: str) -> str | None:
    """Output of a program; None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
