"""The footnote of a number: its full conditions and signature."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.types import UNTRAINED
from bench.report.conditions import sentences, signatures
from bench.report.format import (
    bracket,
    commas,
    joined,
    listing,
    number,
    percent,
    plain,
    significant,
)
from bench.report.language import say, say_text
from bench.report.latex import latex_code, latex_text
from bench.report.render import markdown_text
from bench.report.results import Result, grouped, system


@dataclass(frozen=True)
class Footnote:
    """A note below a text: the label that refers to it, its sentences, and one signature."""

    label: str
    text: str
    signature: str


def footnotes(results: Sequence[Result], records: Mapping[str, Any]) -> list[Footnote]:
    """One footnote a system and setting; `records` are the environments of the results' run."""
    return [
        _footnote(group, records.get(group[0].row.environment, {}))
        for group in grouped(results, system)
    ]


def markdown(note: Footnote) -> str:
    """A footnote of markdown; `[^label]` in the text refers to it."""
    signature = plain(note.signature).replace("`", "'")
    text = say(
        "{note} Signature: {signature}.", note=markdown_text(note.text), signature=f"`{signature}`"
    )
    return f"[^{note.label}]: {text}"


def latex(note: Footnote) -> str:
    r"""A footnote for pdfLaTeX, to follow the number."""
    signature = latex_code(plain(note.signature))
    text = say("{note} Signature: {signature}.", note=latex_text(note.text), signature=signature)
    return f"\\footnote{{{text}}}"


def text(note: Footnote) -> str:
    """The footnote without any markup."""
    signature = plain(note.signature)
    return say("{note} Signature: {signature}.", note=note.text, signature=signature)


def _footnote(results: Sequence[Result], record: Mapping[str, Any]) -> Footnote:
    first = results[0]
    parts = [
        "".join(sentences("; ".join(map(_numbers, results)), results)).strip(),
        _options(first),
        _versions(record),
        _machine(record),
        _data(results),
    ]
    (signature,) = signatures(results)
    label = re.sub(r"[^0-9A-Za-z]", "-", first.row.key)  # rows of other programs have any key
    return Footnote(label, plain(joined(parts)), signature)


def _numbers(result: Result) -> str:
    """The measured numbers, after system and condition."""
    row, names = result.row, result.names
    condition = row.condition
    values = {"system": f"{names.encoder}:{names.decoder}", "set": result.dataset}
    where = say("{system} on {set}", **values)
    if condition.severity:
        damage = f"{result.damage} {condition.severity}"
        where = say("{system} on {set} under {damage}", damage=damage, **values)
    words = []
    if row.status != "ok":
        return say("{where}: failed ({reason})", where=where, reason=say_text(row.reason))
    if row.cer is not None and row.weights != UNTRAINED:
        bounds = f" {bracket(result.interval)}" if result.interval else ""
        words.append(f"CER {percent(row.cer)} %{bounds}, WER {percent(row.wer)} %")
    if row.timing:
        words.append(f"{significant(row.timing.lines_per_s.median)} {say('lines/s')}")
    return f"{where}: {commas(words)}"


def _options(result: Result) -> str:
    """All options of the decoder, and the set ones of other parts."""
    row = result.row
    parts = []
    # What was left to the decoder stands among the extras as it chose it.
    chosen = {name: row.extras[name] for name in row.options if name in row.extras}
    for name, options in (
        (row.decoder, {**row.options, **chosen}),
        (row.encoder, row.encoder_options),
        (row.condition.dataset, row.dataset_options),
        (row.condition.damage, row.damage_options),
    ):
        if options:
            values = ", ".join(f"{option}={value}" for option, value in options.items())
            parts.append(f"{name} ({values})")
    return say("Options: {options}.", options="; ".join(parts)) if parts else ""


def _versions(record: Mapping[str, Any]) -> str:
    packages = record.get("machine", {}).get("packages", {})
    words = [f"{name} {version}" for name, version in packages.items() if version]
    return say("Packages: {packages}.", packages=", ".join(words)) if words else ""


def _machine(record: Mapping[str, Any]) -> str:
    """Cores, memory, system and thread variables; the processor stands in the conditions."""
    machine = record.get("machine", {})
    cpu = machine.get("cpu", {})
    words = []
    if cpu.get("usable_cores"):
        usable, cores = cpu["usable_cores"], cpu.get("cores")
        words.append(say("{usable} of {cores} cores usable", usable=usable, cores=cores))
    if record.get("memory_mib"):
        words.append(say("{size} GiB of memory", size=number(record["memory_mib"] / 1024, 1)))
    if machine.get("os"):
        words.append(" ".join(map(str, machine["os"])))
    variables = record.get("thread_variables") or {}
    words += [f"{name}={value}" for name, value in variables.items() if value is not None]
    return say("Machine: {machine}.", machine=commas(words)) if words else ""


def _data(results: Sequence[Result]) -> str:
    hashes = {f"{result.names.dataset} {result.row.dataset_sha256}": None for result in results}
    hashes |= {
        f"{name.removesuffix('_sha256')} {value}": None
        for result in results
        for name, value in result.row.extras.items()
        if name.endswith("_sha256")
    }
    return say("SHA-256: {hashes}.", hashes=listing(list(hashes))) if hashes else ""
