"""Signatures of rows: short strings that name everything a number depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from bench.core.types import Condition, Row, Runtime

PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def signature(row: Row) -> str:
    """Join the parts of a row's signature, which suffice to reproduce its number."""
    return "|".join(signature_parts(row).values())


def signature_parts(row: Row) -> dict[str, str]:
    """The parts of a row's signature by name, in order; most begin with their name ("n:nfc-ws1").

    In the style of sacreBLEU: encoder@weights, decoder[options], every file hash among the
    decoder's extras ("lm_sha256" as "lm:"), set-split@data, damage, normaliser, batch size,
    precision, device, version.
    """
    # Options that the decoder chose itself (tuned weights, workers) appear with their values.
    chosen = {name: row.extras[name] for name in row.options if name in row.extras}
    data = _bracketed(row.dataset_options)
    named = {
        "e": f"{row.encoder}{_bracketed(row.encoder_options)}@{row.weights[:8] or '?'}",
        "d": f"{row.decoder}{_bracketed({**row.options, **chosen})}",
        **{
            name.removesuffix("_sha256"): str(value)[:8]
            for name, value in row.extras.items()
            if name.endswith("_sha256")
        },
        "s": f"{_set_name(row.condition)}{data}@{row.dataset_sha256[:8] or '?'}",
        "dmg": damage_name(row),
        "n": row.normaliser,
        "bs": row.runtime.batch_size,
    }
    return {
        **{name: f"{name}:{value}" for name, value in named.items()},
        "precision": PRECISIONS.get(row.runtime.dtype, row.runtime.dtype),
        "device": _device_name(row.runtime),
        "version": f"v{row.version}",
    }


def _bracketed(options: Mapping[str, Any]) -> str:
    shown = [f"{name}={short_value(value)}" for name, value in options.items() if value is not None]
    return f"[{','.join(shown)}]" if shown else ""


def short_value(value: Any) -> str:
    """Shorten an option: a path to its file name, since folders differ by machine."""
    path = PurePath(str(value))
    return path.name if path.is_absolute() else str(value)


def _set_name(condition: Condition) -> str:
    limit = "" if condition.limit is None else f"[:{condition.limit}]"
    return f"{condition.dataset}-{condition.split}{limit}"


def damage_name(row: Row) -> str:
    """The damage of a row with its parameters; "none" for a clean set."""
    damage = row.condition
    if damage.severity == 0:
        return "none"
    options = _bracketed(row.damage_options)
    return f"{damage.damage}-{damage.severity}[seed={damage.seed}]@{row.suite}{options}"


def _device_name(runtime: Runtime) -> str:
    if runtime.device != "cpu":
        return runtime.device
    return f"cpu×{runtime.threads}t"  # noqa: RUF001 (times, not the letter)
