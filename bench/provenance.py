"""Where a number comes from: environment, hashes of code and conditions, the signature.

The only file that shells out or reads the environment of the machine.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import psutil

from bench import ROOT, __version__
from bench.metrics import NORMALISER
from bench.types import Condition, Row, Runtime
from datasets.damage.base import SUITE

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "numba", "rapidfuzz",
    "pyctcdecode", "kenlm", "opencv-python-headless", "Pillow", "pyarrow", "Hershey-Fonts",
)  # fmt: skip
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# nvidia-smi's fields, and what they are called in the record.
_CARD = {
    "driver_version": "driver",
    "clocks.max.sm": "max_sm_mhz",
    "clocks.max.memory": "max_memory_mhz",
    "power.limit": "power_limit_w",
}
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def environment() -> dict[str, Any]:
    """The record that `env.json` keeps: code, software and machine, as plain JSON values."""
    record = {
        "kaidoku": __version__,
        "git": _git(),
        "machine": machine(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "thread_variables": {name: os.environ.get(name) for name in THREAD_VARIABLES},
    }
    return {**record, "gpus": cards} if (cards := _gpu_cards()) else record


def free_memory_mib() -> float:
    """Memory that this machine could give without swapping, in MiB."""
    return psutil.virtual_memory().available / 2**20


def gpu_clocks(device: str) -> dict[str, str]:
    """Clocks of a CUDA device now, in MHz ("sm_mhz", "memory_mhz"); {} where they are not told."""
    if not device.startswith("cuda"):
        return {}
    import torch

    index = torch.device(device).index
    uuid = _gpu_uuid(torch.cuda.current_device() if index is None else index)
    read = _nvidia_smi("clocks.sm", "clocks.mem").get(uuid)
    return {"sm_mhz": read[0], "memory_mhz": read[1]} if read else {}


def machine() -> dict[str, Any]:
    """What can change text or time besides the project's own code: software and hardware.

    It is part of every key, so it leaves out what changes from boot to boot.
    """
    return {
        "os": [platform.system(), platform.machine(), *platform.libc_ver()],
        "python": platform.python_version(),
        "packages": {name: _installed(name) for name in PACKAGES},
        "cpu": _cpu(),
        "gpu": _gpu(),
    }


def digest(value: Any, length: int = 16) -> str:
    """The first `length` hex digits of SHA-256 over a value as canonical JSON."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def plain(value: Any) -> Any:
    """A value as JSON holds it: tuples as lists, paths as text, NumPy scalars as Python's.

    JSON has no infinity and no NaN: they become None. Anything else becomes its `str`.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def code_version(modules: Iterable[str]) -> str:
    """Hash of the source text of modules and of what they use of their own package.

    Followed are imports of submodules of the same top-level package ("decoders.language.ngram" from
    "decoders.ctc.kenlm"), not the packages' own `__init__` files: a new registry line changes no
    stage. Files of `bench` are taken one by one, since the nouns there are used by everything.
    So a changed file re-runs the cells of the stages that use it, and no others.
    """
    files = _with_imports(modules)
    return digest({name: path.read_text(encoding="utf-8") for name, path in files.items()})


def signature(row: Row) -> str:
    """The short string that lets another person reproduce a row's number.

    In the style of sacreBLEU: encoder@weights, decoder[options], every file hash that the
    decoder tells of in its extras ("lm_sha256" as "lm:"), set-split@data, damage, normaliser,
    batch size, precision, device, version.
    """

    def given(part: str) -> str:
        return _bracketed(row.extras.get(f"{part}_options", {}))

    # An option left to the decoder (tuned weights, the number of workers) is told as it was chosen.
    chosen = {name: row.extras[name] for name in row.options if name in row.extras}
    hashes = [
        f"{name.removesuffix('_sha256')}:{str(value)[:8]}"
        for name, value in row.extras.items()
        if name.endswith("_sha256")
    ]
    return "|".join(
        [
            f"e:{row.encoder}{given('encoder')}@{row.weights[:8] or '?'}",
            f"d:{row.decoder}{_bracketed({**row.options, **chosen})}",
            *hashes,
            f"s:{_set_name(row.condition)}{given('dataset')}@{row.dataset_sha256[:8] or '?'}",
            f"dmg:{_damage_name(row.condition)}{given('damage')}",
            f"n:{NORMALISER}",
            f"bs:{row.runtime.batch_size}",
            PRECISIONS.get(row.runtime.dtype, row.runtime.dtype),
            _device_name(row.runtime),
            f"v{__version__}",
        ]
    )


def parsed_signature(signature: str) -> dict[str, str]:
    """The parts of a signature by their prefix ("n:nfc-ws1"); parts without one by themselves."""
    return {part.partition(":")[0]: part for part in signature.split("|") if part}


def _bracketed(options: Mapping[str, Any]) -> str:
    shown = [f"{name}={_short(value)}" for name, value in options.items() if value is not None]
    return f"[{','.join(shown)}]" if shown else ""


def _short(value: Any) -> str:
    """An option in a signature: a path by its file name, since folders differ by machine."""
    path = PurePath(str(value))
    return path.name if path.is_absolute() else str(value)


def _set_name(condition: Condition) -> str:
    limit = "" if condition.limit is None else f"[:{condition.limit}]"
    return f"{condition.dataset}-{condition.split}{limit}"


def _damage_name(condition: Condition) -> str:
    if condition.severity == 0:
        return "none"
    return f"{condition.damage}-{condition.severity}[seed={condition.seed}]@{SUITE}"


def _device_name(runtime: Runtime) -> str:
    if runtime.device != "cpu":
        return runtime.device
    return f"cpu×{runtime.threads}t"  # noqa: RUF001 (times, not the letter)


def _with_imports(modules: Iterable[str]) -> dict[str, Path]:
    """Module names to files, imports inside the same top-level package followed, sorted."""
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name.partition(".")[0]
        if package != "bench":
            todo += [other for other in _imports(path) if other.startswith(f"{package}.")]
    return dict(sorted(found.items()))


def _imports(path: Path) -> set[str]:
    """Every name that the file's import statements could mean as a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _source(name: str) -> Path | None:
    """The file of a module; None for packages, for what is no module, and for compiled code."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.submodule_search_locations is not None or not spec.origin:
        return None
    path = Path(spec.origin)
    return path if path.suffix == ".py" else None


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


def bf16_units() -> bool:
    """Whether this CPU computes in bfloat16 by itself; else it is slower there than in float32."""
    return bool({"amx_bf16", "avx512_bf16"} & set(_cpu()["units"]))


def _usable_cores() -> int | None:
    """Cores that this process may run on; a container or `taskset` may allow it only some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _gpu() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _gpu_cards() -> list[dict[str, Any]]:
    """Driver, highest clocks and power limit of each CUDA device, in torch's order.

    Nothing of it changes from run to run. A device that nvidia-smi does not tell of has its name
    alone.
    """
    told = _nvidia_smi(*_CARD) if _gpu() else {}
    cards = []
    for index, name in enumerate(_gpu()):
        values = told.get(_gpu_uuid(index), [])
        cards.append({"name": name, **dict(zip(_CARD.values(), values, strict=False))})
    return cards


def _gpu_uuid(index: int) -> str:
    """As nvidia-smi writes it: its numbers need not be torch's (CUDA_VISIBLE_DEVICES)."""
    import torch

    return f"GPU-{getattr(torch.cuda.get_device_properties(index), 'uuid', '')}"


def _nvidia_smi(*fields: str) -> dict[str, list[str]]:
    """Values of its query fields by the device's uuid; {} without the program."""
    query = f"--query-gpu={','.join(('uuid', *fields))}"
    text = _output("nvidia-smi", query, "--format=csv,noheader,nounits")
    rows = [[value.strip() for value in line.split(",")] for line in (text or "").splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == len(fields) + 1}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout and whether it was changed since; None outside of git."""
    commit = _run_git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_run_git("status", "--porcelain"))}


def _run_git(*arguments: str) -> str | None:
    return _output("git", "-C", str(ROOT), *arguments)


def _output(*command: str) -> str | None:
    """What a program prints; None when it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
