"""Kaidoku: a benchmark for the decoders of handwriting recognisers."""

import os
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent

# By its place and not by an import: the nouns of `bench.core` depend on no folder above them.
_datasets = find_spec("datasets")
if _datasets is None or Path(_datasets.origin or "").resolve().parent.parent != ROOT:
    raise SystemExit(
        "Run from the root of the checkout (python -m bench ...): another package called "
        f"'datasets' was found at {_datasets and _datasets.origin}."
    )

# Every plot is a file: a notebook's backend, which its shells inherit, need not be installed here.
os.environ["MPLBACKEND"] = "agg"
