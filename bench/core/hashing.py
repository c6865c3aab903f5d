"""Hashes of values as JSON, and of code as syntax trees."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import ROOT


def digest(value: Any) -> str:
    """The first 16 hex digits of SHA-256 over a value as canonical JSON."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Convert a value for JSON: tuples to lists, paths to text, NumPy scalars to Python's.

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
    """Hash the code of modules ("decoders.ctc.ngram") and of all project modules they import.

    Code counts as its syntax tree: comments, docstrings and line breaks change nothing. Packages
    are not followed, so that a new registry entry changes no stage.
    """
    files = {name: file for module in modules for name, file in sources_of(module).items()}
    return digest({name: _tree_hash(file) for name, file in files.items()})


@functools.cache
def sources_of(module: str) -> Mapping[str, Path]:
    """Map a module, and all project modules that it imports directly or not, to files."""
    files: dict[str, Path] = {}
    todo = {module}
    while todo:
        name = todo.pop()
        if name not in files and (file := file_of(name)):
            files[name] = file
            todo |= _imports(file)
    return files


@functools.cache
def file_of(module: str) -> Path | None:
    """Return the file of a project module; None for packages and other modules."""
    file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return file if file.is_file() else None


@functools.cache
def _tree_hash(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@functools.cache
def _imports(file: Path) -> frozenset[str]:
    """List every module name that a file's imports could refer to."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)
