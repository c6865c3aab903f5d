"""The sentence above a table, and the signatures below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.provenance import parsed_signature
from bench.report.format import listing, plain, plural
from bench.report.results import Result
from bench.stats import LEVEL, RESAMPLES, SEED
from bench.types import UNTRAINED

INTERVAL = (
    f"in brackets the {100 * LEVEL:.0f} % interval of a percentile bootstrap over writers "
    f"({RESAMPLES:,} resamples, seed {SEED})"
)


def conditions(lead: str, results: Sequence[Result], read: str = "") -> str:
    """All that the numbers of a table depend on, in plain words.

    Args:
        lead: what the numbers are, without a full stop.
        results: of one setting, at least one; they may differ in batch size and precision where
            the rows of the table name these.
        read: what was read, where that is not the beginning of the sets.
    """
    setting = results[0].setting
    runtime = setting.runtime
    precisions = _unique(result.row.runtime.dtype for result in results)
    sizes = sorted({result.row.runtime.batch_size for result in results})
    parts = [
        lead,
        f"Read: {read or _sets(results)}",
        _damage(results),
        f"Encoder: {_encoders(results)}",
        "; ".join(filter(None, _unique(map(_decoder, results)))),
        f"Device: {runtime.device} ({setting.machine}), {plural(runtime.threads, 'thread')}, "
        f"{listing(precisions)}, batch size {listing([str(size) for size in sizes])}, lines sorted "
        f"by width at equal height into batches, {_rounds(results)}",
        f"Texts compared after the normaliser {setting.normaliser}",
        f"{setting.software}; {_origin(results)}",
    ]
    return plain(". ".join(filter(None, parts)) + ".")


def signatures(results: Sequence[Result]) -> tuple[str, ...]:
    """One signature a system, where it read several sets or damages with these in braces."""
    systems: dict[tuple[str, str], list[str]] = {}
    for result in results:
        systems.setdefault((result.names.encoder, result.names.decoder), []).append(
            result.row.signature
        )
    return tuple(_unique(plain(_merged(several)) for several in systems.values()))


def _merged(several: Sequence[str]) -> str:
    parts: dict[str, list[str]] = {}
    for signature in several:
        for prefix, part in parsed_signature(signature).items():
            parts.setdefault(prefix, []).append(part.removeprefix(f"{prefix}:"))
    merged = []
    for prefix, values in parts.items():
        told = _braced(_unique(values))
        merged.append(told if told == prefix else f"{prefix}:{told}")
    return "|".join(merged)


def _braced(values: Sequence[str]) -> str:
    """One value as it is; several in braces, before the "[...]@..." that all of them end with."""
    if len(values) == 1:
        return values[0]
    ends = [re.search(r"(\[[^\]]*\])?(@.*)?$", value) for value in values]
    common = {end.group() for end in ends if end}
    shared = common.pop() if len(common) == 1 else ""
    return f"{{{' '.join(value.removesuffix(shared) for value in values)}}}{shared}"


def _sets(results: Sequence[Result]) -> str:
    """Every set with how much of it was read, as far as any of its results knows."""
    sets: dict[str, list[Result]] = {}
    for result in results:
        sets.setdefault(result.names.dataset, []).append(result)
    return "; ".join(f"{name} ({_set(several)})" for name, several in sets.items())


def _set(results: Sequence[Result]) -> str:
    rows = [result.row for result in results]
    condition = rows[0].condition
    lines = next((row.counts.lines for row in rows if row.counts), None)
    writers = next((result.interval.blocks for result in results if result.interval), None)
    sha256 = next((row.dataset_sha256 for row in rows if row.dataset_sha256), "")
    references = next((row.references for row in rows if row.references), "")
    told = [f"{condition.split} split"]
    if lines is not None:
        first = "the first " if condition.limit else ""
        by = f" by {plural(writers, 'writer')}" if writers else ""
        told.append(f"{first}{plural(lines, 'line')}{by}")
    told += [f"sha256 {sha256[:12]}"] if sha256 else []
    told += [f"references {references}"] if references else []
    return ", ".join(told)


def _damage(results: Sequence[Result]) -> str:
    """The suite and seed of the damages."""
    told = []
    for result in results:
        if not result.clean:
            suite = parsed_signature(result.row.signature).get("dmg", "").rpartition("@")[2]
            told.append(f"Damaged by {suite or 'a suite'} with seed {result.row.condition.seed}")
    return listing(_unique(told))


def _encoders(results: Sequence[Result]) -> str:
    """Every encoder with its weights; a row that failed early does not know them."""
    weights: dict[str, str] = {}
    for result in results:
        weights[result.names.encoder] = weights.get(result.names.encoder) or result.row.weights
    return listing(
        [
            f"{name} with untrained weights"
            if known == UNTRAINED
            else f"{name} (weights {known[:12] or 'not opened'})"
            for name, known in weights.items()
        ]
    )


def _decoder(result: Result) -> str:
    """The beam, the workers and the language model of a decoder; "" without any."""
    options, extras = result.row.options, result.row.extras
    told = [f"{name.replace('_', ' ')} {options[name]}" for name in options if "beam" in name]
    told += [plural(extras["workers"], "worker")] if isinstance(extras.get("workers"), int) else []
    told += _language(result)
    return f"{result.names.decoder}: {', '.join(told)}" if told else ""


def _language(result: Result) -> list[str]:
    """The language model, its weights, and where these come from."""
    extras = result.row.extras
    if "lm_sha256" not in extras:
        return []
    told = [f"sha256 {str(extras['lm_sha256'])[:12]}"]
    told += [f"order {extras['lm_order']}"] if "lm_order" in extras else []
    told += [f"text: {extras['lm_trained_on']}"] if extras.get("lm_trained_on") else []
    # An option that says "as tuned" has the value in force among the extras.
    weights = [
        f"{name} {extras[name]}"
        for name in result.row.options
        if isinstance(extras.get(name), float)
    ]
    return [
        f"language model {extras.get('lm') or ''} ({', '.join(told)})",
        f"weights {', '.join(weights)} (tuned on: {extras.get('tuned_on') or 'not recorded'})",
    ]


def _rounds(results: Iterable[Result]) -> str:
    counts = sorted({r.row.timing.lines_per_s.n for r in results if r.row.timing})
    if not counts:
        return "no finished round"
    if counts[0] == counts[-1]:
        return plural(counts[0], "round")
    return f"{counts[0]} to {counts[-1]} rounds"


def _origin(results: Sequence[Result]) -> str:
    """Commits, environment records and days."""
    commits = _unique(result.commit for result in results if result.commit)
    records = _unique(result.row.environment[:8] for result in results)
    days = sorted({result.row.started[:10] for result in results})
    told = [f"commit {listing(commits)}"] if commits else []
    told.append(f"environment {listing(records)} of env.json")
    told.append(f"run {days[0]}" if len(days) == 1 else f"run {days[0]} to {days[-1]}")
    return ", ".join(told)


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
