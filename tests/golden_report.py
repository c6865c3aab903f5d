"""The golden report: a made-up run with every kind of row, and all its tables in both languages.

    python -m tests.golden_report     write `tests/fixtures/report/` anew

`tests/test_report.py` compares it, so that a change of any sentence shows in the diff of the files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.analysis.compare import NamedSystem
from bench.analysis.compare import compare as comparisons
from bench.analysis.evidence import readings
from bench.analysis.misreadings import analyse
from bench.analysis.misreadings.classes import Vocabulary
from bench.core.errors import UserError
from bench.core.types import LineResult, Row, Runtime
from bench.pipeline.cells import corrected as correction_of
from bench.report import cite, compare, errors, output
from bench.report.language import LANGUAGES, language
from bench.report.render import markdown, spreadsheet
from bench.report.results import Result, collect
from bench.report.table import Table
from tests.run_rows import ENVIRONMENT, Rows, cell_lines, failed, read_line, row, timing

FOLDER = Path(__file__).parent / "fixtures" / "report"

LM: Mapping[str, Any] = {
    "lm": "embedded", "lm_sha256": "feedbeef00000000", "lm_order": 3,
    "lm_trained_on": "corpus train", "alpha": 0.7, "beta": 1.5, "workers": 2,
    "tuned_on": "lines-val@1234, clean + blot 3", "generation_ignored": {"num_beams": 4},
}  # fmt: skip
_OTHER_COMMIT = {**ENVIRONMENT, "git": {"commit": "9" * 40, "dirty": True}}
_GPU = {
    **ENVIRONMENT,
    "gpus": [{"driver": "580.1", "max_sm_mhz": 1980, "power_limit_w": 700}],
}


class Run(Rows):
    """Rows in memory, each with its lines."""

    def add(self, one: Row, writers: int = 12, lines: list[LineResult] | None = None) -> None:
        """A row with lines of so many writers, of none without these."""
        one = replace(one, key=f"{one.key}-{len(self._rows)}")
        self._rows.append(one)
        if lines is None and writers:
            lines = cell_lines(one.cer if one.cer and math.isfinite(one.cer) else 0.1, writers)
        if lines is not None:
            self._lines_of[one.key] = [replace(own, id=f"{n}") for n, own in enumerate(lines)]

    def lines(self, key: str) -> list[LineResult]:
        """The lines of a row."""
        if key not in self._lines_of:
            raise UserError(f"no lines of {key}")
        return self._lines_of[key]


def corrected(better: int, worse: int, same: int) -> list[LineResult]:
    """Lines that a corrector made better, worse and left as bad as they were."""
    right, wrong = "the quick brown fox", "the quick brawn fox"
    pairs = [(wrong, right)] * better + [(right, wrong)] * worse + [(wrong, wrong)] * same
    return [
        replace(read_line(str(n), right, after, f"w{n % 8}"), uncorrected=before)
        for n, (before, after) in enumerate(pairs)
    ]


def run() -> Run:
    """A run with every kind of row that a table can show."""
    records = {"commit": _OTHER_COMMIT, "gpu": _GPU, "envhash012345678": ENVIRONMENT}
    made = Run(environments=records)
    _clean(made)
    _damaged(made)
    _odd(made)
    for name in ("ctc-greedy+speller", "ctc-greedy+lm"):
        for (damage, severity), counts in {
            ("none", 0): (2, 12, 2),
            ("blot", 3): (16, 0, 8),
        }.items():
            lines = corrected(*counts)
            one = row(name, "iam", damage=damage, severity=severity)
            correction = correction_of(lines, trained=True)
            assert correction is not None
            if name.endswith("lm"):
                correction = {**correction, "refused": {"too long": 2, "timeout": 1}, "cached": 3}
            assert one.timing is not None
            times = replace(one.timing, correct_s=one.timing.decode_s)
            made.add(replace(one, correction=correction, timing=times), lines=lines)
    return made


def _clean(made: Run) -> None:
    for place, (name, cer) in enumerate(
        (("ctc-greedy", 0.1), ("ctc-beam", 0.09), ("ctc-ngram", 0.06), ("ar-beam", 0.099))
    ):
        lm = name == "ctc-ngram"
        more: dict[str, Any] = {"extras": LM if lm else {}, "timing": timing(5.0 * (place + 1))}
        more |= {"options": {"alpha": None, "beta": None, "lm": ""}} if lm else {}
        made.add(row(name, "lines", cer, **more))
        made.add(
            row(name, "unipen", cer, unreadable=1, foreign=0 if name == "ar-beam" else 3, **more)
        )
        made.add(row(name, "cvl", cer, **more))
        letters = [replace(one, writer="Joseph Hooker") for one in cell_lines(cer, 8)]
        made.add(row(name, "hooker", 1.25 if place else cer, **more), lines=letters)
    made.add(row("ctc-greedy", "copiste", 0.2, environment="commit"), writers=3)
    shared = {"train": {"text": 20, "image": 0}, "lm": {"lines": 0.3}}
    made.add(row("ctc-greedy", "alto", 0.2, leak=shared), writers=17)
    notes = {"set_notes": ["te.lst has 5 lines"], "lines_changed_between_rounds": 3}
    made.add(row("ctc-greedy", "rimes", 0.2, extras=notes), writers=0)
    made.add(row("ctc-beam", "lines", 0.08, options={"beam": 64}))


def _damaged(made: Run) -> None:
    for place, name in enumerate(("ctc-greedy", "ctc-ngram")):
        for severity in (1, 3):
            slots = {"lines_with_equal_slots": 2}
            cer = 0.1 + severity * 0.08 + place * 0.003
            made.add(row(name, "lines", cer, "char_erase", severity, extras=slots))
        made.add(row(name, "lines", 0.25, "noise", 3, ink_lost=None))
    made.add(row("ctc-greedy", "lines", 0.3, "blot", 3, damage_options={"grey": 0.5}))
    made.add(row("ctc-greedy", "lines", 0.31, "blot", 3))


def _odd(made: Run) -> None:
    """Rows with a mark in place of a number, and rows with a table of their own."""
    made.add(row("ar-beam", cer=None, weights="untrained", encoder="trocr-small", wer=None), 0)
    made.add(row("ar-greedy", "unipen", cer=None, wer=None))
    made.add(replace(row("ar-draft", "unipen"), cer=math.nan))
    reason = "the decoder failed: out of memory on cuda at batch size 32; try a smaller one"
    made.add(failed(decoder="ctc-kenlm", reason=reason, weights="", dataset_sha256=""), 0)
    once = Runtime(batch_size=1)
    made.add(
        row("ctc-beam", "lines", 0.3, runtime=once, timing=timing(12.0, 1), environment="gone")
    )
    card = Runtime("cuda", "bfloat16", 64, 8)
    made.add(row("ctc-beam", "lines", 0.3, runtime=card, environment="gpu"))
    short = row("ctc-beam", "lines", 0.2, normaliser="nfc-ws0")
    made.add(replace(short, condition=replace(short.condition, limit=50)))


def _compared(store: Run, results: Sequence[Result]) -> list[Table]:
    """Three systems on every condition that two of them have read."""
    systems = [
        NamedSystem(name, tuple(readings([store.only(rows)])))
        for name in ("ctc-greedy", "ctc-ngram", "ar-beam")
        if (rows := [r.row for r in results if r.names[:2] == ("mini", name) and r.row.cer])
    ]
    known = {(system.label, one.row.key) for system in systems for one in system.readings}
    of = {
        (result.names.decoder, result.row.key): result
        for result in results
        if (result.names.decoder, result.row.key) in known
    }
    return compare.tables(comparisons(systems), of)


def _misread(results: Sequence[Result]) -> list[Table]:
    """Greedy CTC beside the n-gram search on the clean synthetic lines."""
    names = ("ctc-greedy", "ctc-ngram")
    shown = [
        r for r in results if r.clean and r.names.dataset == "lines" and r.row.decoder in names
    ]
    known = Vocabulary(frozenset({"the"}), frozenset(), 1, "a test")
    analysis = analyse([result.reading for result in shown if result.reading], known)
    return errors.tables(errors.Shown(1, analysis, tuple(shown)), most=3)


def written() -> dict[str, str]:
    """The files by name: every table of the run in each language, and what is English alone."""
    store = run()
    results = collect(store)
    texts = {}
    for name in LANGUAGES:
        with language(name):
            tables = [*output.main_tables(results), *output.further_tables(results)]
            texts[f"report.{name}.md"] = "\n".join(map(markdown, tables))
    further = [*_compared(store, results), *_misread(results)]
    texts["further.md"] = "\n".join(map(markdown, further))
    texts["further.csv"] = "\n".join(map(spreadsheet, further))
    notes = cite.footnotes(results, store.environments())
    texts["footnotes.md"] = "\n\n".join(map(cite.markdown, notes))
    return texts


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in written().items():
        (FOLDER / file).write_bytes(text.encode())
