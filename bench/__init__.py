"""Kaidoku: a benchmark for the decoders of handwriting recognisers."""

from pathlib import Path

import datasets

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent

if Path(datasets.__file__ or "").resolve().parent.parent != ROOT:
    raise SystemExit(
        "Run from the root of the checkout (python -m bench ...): another package called "
        f"'datasets' was found at {datasets.__file__}."
    )
