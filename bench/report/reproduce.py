"""Whether a number held, in words."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.reproduce import Reproduction
from bench.report.format import bracket, percent, plain, plural, short, significant
from bench.report.language import say, say_name, say_text

_WIDTH = 60
_RANGES = {
    "batches": "bootstrap over the batches",
    "rounds": "what the rounds of both allow",
}


def text(verdict: Reproduction) -> str:
    """The verdict, its reasons, and the conditions that have changed."""
    before, after = verdict.before, verdict.after
    system = f"{before.encoder}:{before.decoder}"
    holds = say("{system} holds", system=system)
    parts = [holds if verdict.holds else say("{system} does not hold", system=system)]
    if after.status != "ok":
        parts.append(say("  it failed: {reason}", reason=say_text(plain(after.reason))))
    elif before.dataset_sha256 != after.dataset_sha256:
        parts.append(say("  the data is not that of the row, so that nothing can be compared"))
    parts += [f"  {line}" for line in (*_cer(verdict), *_speed(verdict))]
    if not verdict.differs:
        parts.append(say("what differs: nothing that is recorded"))
    else:
        parts.append(say("what differs (then, now):"))
        for what, old, new in verdict.differs:
            values = (short(say_name(plain(value)), _WIDTH) for value in (old, new))
            parts.append(f"  {say_name(what)}: {', '.join(values)}")
    return "\n".join(parts)


def _cer(verdict: Reproduction) -> Iterator[str]:
    before, after = verdict.before, verdict.after
    if before.cer is None:
        yield say("no CER: the weights are untrained")
    elif after.cer is not None:
        how = say("exactly the same edits") if verdict.exact else say("not the same edits")
        if not verdict.exact and verdict.interval:
            how = say("within the interval") if verdict.within else say("outside the interval")
        bounds = f" {bracket(verdict.interval)}" if verdict.interval else ""
        yield say(
            "CER % then {then}, now {now}: {how}",
            then=f"{percent(before.cer)}{bounds}",
            now=percent(after.cer),
            how=how,
        )
    if verdict.changed is None:
        yield say("texts: the stored lines are gone")
    elif after.counts is not None:
        yield say(
            "texts: {changed} of {lines} read otherwise",
            changed=plural(verdict.changed, "line"),
            lines=after.counts.lines,
        )


def _speed(verdict: Reproduction) -> Iterator[str]:
    speed, old, new = verdict.speed, verdict.before.timing, verdict.after.timing
    if speed is None or old is None or new is None:
        return
    times = say("{ratio} times as fast", ratio=significant(speed.value))
    if speed.interval is not None:
        times += f" [{significant(speed.interval.low)}, {significant(speed.interval.high)}]"
        times += f" ({say(_RANGES[speed.by])})"
    yield say(
        "lines/s then {then}, now {now}: {times}",
        then=significant(old.lines_per_s.median),
        now=significant(new.lines_per_s.median),
        times=times,
    )
