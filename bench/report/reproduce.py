"""Whether a number held, in words."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.reproduce import Reproduction
from bench.report.format import bracket, percent, plain, plural, short, significant

_WIDTH = 60
_RANGES = {
    "batches": "bootstrap over the batches",
    "rounds": "what the rounds of both allow",
}


def text(verdict: Reproduction) -> str:
    """The verdict, its reasons, and the conditions that have changed."""
    before, after = verdict.before, verdict.after
    parts = [f"{before.encoder}:{before.decoder} {'holds' if verdict.holds else 'does not hold'}"]
    if after.status != "ok":
        parts.append(f"  it failed: {plain(after.reason)}")
    elif before.dataset_sha256 != after.dataset_sha256:
        parts.append("  the data is not that of the row, so that nothing can be compared")
    parts += [f"  {line}" for line in (*_cer(verdict), *_speed(verdict))]
    if not verdict.differs:
        parts.append("what differs: nothing that is recorded")
    else:
        parts.append("what differs (then, now):")
        for what, old, new in verdict.differs:
            parts.append(f"  {what}: {short(plain(old), _WIDTH)}, {short(plain(new), _WIDTH)}")
    return "\n".join(parts)


def _cer(verdict: Reproduction) -> Iterator[str]:
    before, after = verdict.before, verdict.after
    if before.cer is None:
        yield "no CER: the weights are untrained"
    elif after.cer is not None:
        how = "exactly the same edits" if verdict.exact else "not the same edits"
        if not verdict.exact and verdict.interval:
            how = f"{'within' if verdict.within else 'outside'} the interval"
        bounds = f" {bracket(verdict.interval)}" if verdict.interval else ""
        yield f"CER % then {percent(before.cer)}{bounds}, now {percent(after.cer)}: {how}"
    if verdict.changed is None:
        yield "texts: the stored lines are gone"
    elif after.counts is not None:
        yield f"texts: {plural(verdict.changed, 'line')} of {after.counts.lines} read otherwise"


def _speed(verdict: Reproduction) -> Iterator[str]:
    speed, old, new = verdict.speed, verdict.before.timing, verdict.after.timing
    if speed is None or old is None or new is None:
        return
    times = f"{significant(speed.value)} times as fast"
    if speed.interval is not None:
        times += f" [{significant(speed.interval.low)}, {significant(speed.interval.high)}]"
        times += f" ({_RANGES[speed.by]})"
    yield (
        f"lines/s then {significant(old.lines_per_s.median)}, "
        f"now {significant(new.lines_per_s.median)}: {times}"
    )
