"""Checks of this machine for the main job, with a remedy for each problem."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import ROOT
from bench.core.errors import Unavailable, UserError
from bench.core.registry import Registry, need

FREE_MIB = 1024  # a full run with its cached language model and tables stays well below this


@dataclass(frozen=True)
class Thing:
    """A registered thing and whether it can run here; `reason` and `remedy` are "" if it can."""

    name: str
    summary: str
    reason: str = ""
    remedy: str = ""

    @property
    def here(self) -> bool:
        """Tell whether it can run on this machine now."""
        return not self.reason


@dataclass(frozen=True)
class Fact:
    """A fact about this machine.

    verdict: "problem" if the main job cannot run or would run wrongly; "note" for information,
        such as an optional set that is not here.
    remedy: the fix, preferably a command; "" without a problem.
    """

    name: str
    verdict: Literal["ok", "note", "problem"]
    found: str
    remedy: str = ""


def inventory(registry: Registry) -> list[Thing]:
    """List every name of a registry, with the reason if it cannot run here."""
    return [look_up(registry, name) for name in registry.names()]


def examine() -> list[Fact]:
    """Run all checks, in the order in which to fix problems."""
    from bench.core.machine import environment

    return [*_software(), *_compiler(), *_hardware(environment()), *_storage(), *_things()]


def look_up(registry: Registry, name: str) -> Thing:
    """Look up one name of a registry.

    Only encoders and data sets report missing parts, so only these are imported.
    """
    summary = registry.entry(name).summary
    try:
        missing = _missing(registry, name)
    except ImportError as error:  # a package that is here but broken, or a wrong registry line
        return Thing(name, summary, f"it cannot be imported: {error}")
    if missing is None:
        return Thing(name, summary)
    return Thing(name, summary, missing.reason, missing.remedy)


def _missing(registry: Registry, name: str) -> Unavailable | None:
    entry = registry.entry(name)
    try:
        for package in entry.requires:
            need(package, f"{registry.kind} {name}")
    except Unavailable as error:
        return error
    module = entry.target.partition(":")[0]
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"there is no module {module}")
    if registry.kind not in ("encoder", "data set"):
        return None
    missing: Unavailable | None = registry.create(name).missing()
    return missing


def _fact(
    name: str,
    fine: bool,
    found: str,
    remedy: str,
    otherwise: Literal["note", "problem"] = "problem",
) -> Fact:
    return Fact(name, "ok", found) if fine else Fact(name, otherwise, found, remedy)


def _software() -> Iterator[Fact]:
    from packaging.specifiers import SpecifierSet

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python, version = SpecifierSet(project["requires-python"]), platform.python_version()
    remedy = f"make the environment with a Python {python}"
    yield _fact("python", python.contains(version), version, remedy)
    yield from map(_package, project["dependencies"])
    yield _other_datasets()


def _package(requirement: str) -> Fact:
    from packaging.requirements import Requirement

    needed = Requirement(requirement)
    remedy = f'pip install "{requirement}"'
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return Fact(needed.name, "problem", "not installed", remedy)
    fits = needed.specifier.contains(version, prereleases=True)
    state = version if fits else f"{version}, but the project needs {needed.specifier}"
    return _fact(needed.name, fits, state, remedy)


def _other_datasets() -> Fact:
    """Detect Hugging Face's `datasets`, which this project's folder hides here."""
    try:
        version = importlib.metadata.version("datasets")
    except importlib.metadata.PackageNotFoundError:
        return Fact("package called datasets", "ok", "none but this project's folder")
    return Fact(
        "package called datasets",
        "note",
        f"Hugging Face's {version} is installed; this project's folder of that name hides it",
        "nothing to do, as long as you start python -m bench in the root of the checkout",
    )


def _compiler() -> Iterator[Fact]:
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    lacking = compiler is None and importlib.util.find_spec("kenlm") is None
    state = "none, and the package kenlm has to be compiled" if lacking else "none, none needed"
    remedy = "apt-get install g++ (or your system's), then pip install ."
    yield _fact("C++ compiler", not lacking, compiler or state, remedy)
    tools = [tool for tool in ("lmplz", "build_binary") if shutil.which(tool)]
    yield Fact("KenLM programs", "ok", ", ".join(tools) or "none; the project's own are used")


def _hardware(facts: Mapping[str, Any]) -> Iterator[Fact]:
    import torch

    from bench.core.machine import thread_count
    from bench.training.fit import bf16_pays

    cpu = facts["machine"]["cpu"]
    yield Fact("cpu", "ok", f"{cpu['model']}, {cpu['usable_cores']} of {cpu['cores']} cores")
    yield Fact("vector units", "ok", " ".join(cpu["units"]) or "unknown")
    bf16 = {"amx_bf16", "avx512_bf16"} & set(cpu["units"])
    pays = bf16 and bf16_pays(torch.device("cpu"))
    state = f"yes ({', '.join(sorted(bf16))})" if pays else "no: --dtype bfloat16 would be slow"
    yield Fact("bf16 on the cpu", "ok", state)
    yield Fact("gpu", "ok", ", ".join(facts["machine"]["gpu"]) or "none that torch can use")
    threads, cores = thread_count(), cpu["usable_cores"]
    state, remedy = f"{threads} in torch", f"run with --threads {cores}"
    yield _fact("threads", threads <= cores, state, remedy, "note")
    yield Fact("memory", "ok", f"{facts['memory_mib']} MiB")


def _storage() -> Iterator[Fact]:
    from bench.core.cache import cache_folder
    from bench.pipeline.runs import RUNS
    from datasets.root import data_root

    root = data_root()
    there = root is not None and root.is_dir()
    state = str(root) if there else f"{root or 'none'} (only embedded sets can be read)"
    remedy = "give --data-root, set BENCH_DATA, or run python -m bench data get NAME"
    yield _fact("data root", there, state, remedy, "note")
    yield _writable("results", RUNS)
    try:
        yield _writable("cache", cache_folder("lm"))
    except UserError as error:
        yield Fact("write to cache", "problem", str(error), "set KAIDOKU_CACHE to such a folder")
    free = shutil.disk_usage(_existing(RUNS)).free // 2**20
    remedy = f"make room: the main job wants {FREE_MIB} MiB"
    yield _fact("free disk space", free >= FREE_MIB, f"{free} MiB", remedy)


def _writable(name: str, folder: Path) -> Fact:
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return Fact(f"write to {name}", "ok", str(folder))
    except OSError as error:
        remedy = f"make {folder} writable to you"
        return Fact(f"write to {name}", "problem", f"{folder}: {error.strerror}", remedy)


def _existing(folder: Path) -> Path:
    """Find the nearest existing folder: itself, or one above it."""
    return folder if folder.exists() else _existing(folder.parent)


def _things() -> Iterator[Fact]:
    from datasets import DATASETS
    from decoders import DECODERS
    from decoders.correctors import CORRECTORS
    from models import ENCODERS

    for registry in (ENCODERS, DECODERS, DATASETS, CORRECTORS):
        things = inventory(registry)
        here = ", ".join(thing.name for thing in things if thing.here)
        yield Fact(f"{registry.kind}s here", "ok", here or "none")
        for thing in things:
            if not thing.here:
                # The main job needs the first of each registry; the others are optional.
                verdict: Literal["note", "problem"] = "problem" if thing is things[0] else "note"
                yield Fact(f"{registry.kind} {thing.name}", verdict, thing.reason, thing.remedy)
