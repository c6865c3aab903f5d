"""The signature of a row: the short string that stands for everything that a number depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from bench import __version__
from bench.core.metrics import NORMALISER
from bench.core.types import Condition, Row, Runtime
from datasets.damage.base import SUITE

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


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
