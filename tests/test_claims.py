"""Measured numbers in README.md, docs and the cards of weights, from committed rows.

A section's decimals, in the order in which they stand, must equal the list below that recomputes
them from `results/reference`; numbers quoted from the literature are literals there. README.ja.md
is held equal to README.md by `test_readme`.
"""

from __future__ import annotations

import csv
import functools
import gzip
import json
import math
import re
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import pytest
from scipy.stats import norm

from bench import ROOT
from bench.analysis.evidence import Reading, readings
from bench.analysis.experiment.design import read_design
from bench.analysis.experiment.ideal import NAME as IDEAL
from bench.analysis.stats import Difference, holm, significant
from bench.pipeline.leaks.weights import RECORD
from bench.pipeline.store import RunStore
from datasets.splits import hand_of

REFERENCE = ROOT / "results" / "reference"
EDITS = ("substitutions", "deletions", "insertions")
DAMAGES = ("stroke_breaks", "char_erase", "span_erase", "half_line")


def decimals(file: str, heading: str) -> list[str]:
    """Numbers with a decimal point of one section, outside of code, links, names and citations."""
    text = (ROOT / file).read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    sections = dict(re.findall(r"(?ms)^#+ ([^\n]+)\n(.*?)(?=^#+ |\Z)", text))
    prose = re.sub(
        r"`[^`]*`|\]\([^)]*\)|arXiv:\S+|Python 3\S+ (?:to|or) \S+|CC BY(-SA)? \S+",
        " ",
        sections[heading],
    )
    return re.findall(r"(?<![\w.])[+-]?\d+\.\d+", prose)


@functools.cache
def rows(run: str) -> list[dict[str, Any]]:
    text = (REFERENCE / run / "rows.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@functools.cache
def stored(path: str) -> Any:
    return json.loads((REFERENCE / path).read_text(encoding="utf-8"))


@functools.cache
def csv_rows(path: str) -> list[dict[str, str]]:
    with (REFERENCE / path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def finding() -> Any:
    return stored("two-cores-language/summary.json")


def fixed(value: float, digits: int, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}"


# The main run.


def row(
    decoder: str, dataset: str, damage: str = "none", severity: int = 0, run: str = "two-cores",
    encoder: str = "mini",
) -> dict[str, Any]:  # fmt: skip
    wanted = {"dataset": dataset, "damage": damage, "severity": severity}
    (found,) = (
        r for r in rows(run)
        if r["decoder"] == decoder and r["encoder"] == encoder
        and wanted.items() <= r["condition"].items() and r["cer"] is not None
    )  # fmt: skip
    return found


def cer(*where: Any, digits: int = 1, **more: Any) -> str:
    """CER in percent, summed edits over summed characters."""
    counts = row(*where, **more)["counts"]
    edits = counts["substitutions"] + counts["deletions"] + counts["insertions"]
    return fixed(100 * edits / counts["characters"], digits)


def cer_where(
    decoder: str, dataset: str, chosen: Callable[[dict[str, Any]], bool], encoder: str = "mini"
) -> str:
    """CER in percent of some of the lines."""
    key = row(decoder, dataset, encoder=encoder)["key"]
    text = gzip.decompress((REFERENCE / "two-cores" / "lines" / f"{key}.jsonl.gz").read_bytes())
    lines = [line for line in map(json.loads, text.splitlines()) if chosen(line)]
    edits = sum(line[kind] for line in lines for kind in EDITS)
    return fixed(100 * edits / sum(len(line["reference"]) for line in lines), 1)


def cer_of_length(decoder: str, dataset: str, least: int, most: int) -> str:
    """CER in percent of the lines with so many characters."""
    return cer_where(decoder, dataset, lambda line: least <= len(line["reference"]) <= most)


def by_learned_hand(encoder: str = "mini") -> list[str]:
    """Greedy CTC on `ink`: the hands whose words the shipped weights learned, and the others."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    learned = {hand_of(name) for names in record.values() for name in names}
    return [
        cer_where("ctc-greedy", "ink", lambda line: line["writer"] in learned, encoder),
        cer_where("ctc-greedy", "ink", lambda line: line["writer"] not in learned, encoder),
    ]


def wer(*where: Any) -> str:
    counts = row(*where)["counts"]
    return fixed(100 * counts["word_edits"] / counts["words"], 1)


def times(dataset: str, decoder: str, base: str, base_decoder: str, digits: int = 1) -> str:
    """How many times as often `mini` errs as on another set or with another decoder."""
    return fixed(row(decoder, dataset)["cer"] / row(base_decoder, base)["cer"], digits)


def conditions() -> list[tuple[str, str, int]]:
    places = (
        r["condition"] for r in rows("two-cores")
        if r["encoder"] == "mini" and r["cer"] is not None
        and r["condition"]["dataset"] in ("ink", "unipen", "hooker")
    )  # fmt: skip
    return sorted({(c["dataset"], c["damage"], c["severity"]) for c in places})


# The language experiment.


def gains(level: str, severity: int) -> list[tuple[float, float]]:
    """CER of greedy CTC and of the 6-gram, by damage."""
    cers = {
        (g["damage"], g["system"]): g["cer"]["value"]
        for g in finding()["gains"]
        if g["level"] == level and g["severity"] == severity
    }
    return [(cers[d, "ctc-greedy"], cers[d, "ctc-ngram"]) for d in DAMAGES]


def mean_gain(level: str, severity: int) -> float:
    return 25 * sum(greedy - ngram for greedy, ngram in gains(level, severity))


def log_odds(level: str, severity: int) -> float:
    pairs = gains(level, severity)
    return sum(math.log(a / (1 - a)) - math.log(b / (1 - b)) for a, b in pairs) / len(pairs)


def by_severity(value: Any) -> list[str]:
    return [value(severity) for severity in range(6)]


def with_interval(record: dict[str, Any], digits: int, sign: str = "") -> list[str]:
    interval = record["interval"]
    return [
        fixed(100 * record["value"], digits, sign),
        fixed(100 * interval["low"], digits),
        fixed(100 * interval["high"], digits),
    ]


def slope(level: str) -> list[str]:
    (found,) = (
        s for s in finding()["slopes"]
        if (s["level"], s["damage"], s["system"]) == (level, "all", "ctc-ngram")
    )  # fmt: skip
    return with_interval(found["slope"], 2, "+")


def slope_without_clean(level: str) -> str:
    values = [mean_gain(level, severity) for severity in range(1, 6)]
    return fixed(sum((s - 3) * v for s, v in zip(range(1, 6), values, strict=True)) / 10, 2, "+")


def gain(damage: str, severity: int) -> list[str]:
    (found,) = (
        g for g in finding()["gains"]
        if (g["level"], g["damage"], g["severity"], g["system"])
        == ("english", damage, severity, "ctc-ngram")
    )  # fmt: skip
    numbers = with_interval(found["gain"], 1)
    return ["+" * (numbers[0][0] != "-") + numbers[0], *numbers[1:]]


def hidden_right(damage: str, severity: int, system: str) -> str:
    """Percent of the hidden characters of English that a system reads right."""
    (table,) = (
        r for r in csv_rows("two-cores-language/tables/hidden.csv") if r["damage"] == damage
    )
    assert severity == 5  # what the table shows
    return fixed(float(table[system]), 1)


# The experiment on real ink.

READERS = ("mini", "mini-torn", "ppocr")


def on_ink() -> Any:
    return stored("two-cores-language-ink/summary.json")


def contrast(name: str, reader: str) -> dict[str, Any]:
    (found,) = (
        one for one in on_ink()["judged"]
        if (one["contrast"]["name"], one["reader"]) == (name, reader)
    )  # fmt: skip
    return dict(found)


def odds(name: str, reader: str, sign: str = "") -> list[str]:
    found = contrast(name, reader)
    interval = found["interval"]
    return [fixed(found["value"], 2, sign), *(fixed(interval[end], 2) for end in ("low", "high"))]


def reading(reader: str, level: str, condition: str, system: str) -> dict[str, Any]:
    (found,) = (
        one for one in on_ink()["readings"]
        if (one["reader"], one["level"], one["condition"], one["system"])
        == (reader, level, condition, system)
    )  # fmt: skip
    return dict(found)


def restored(reader: str, condition: str, system: str) -> str:
    return fixed(100 * reading(reader, "english", condition, system)["restored"]["value"], 1)


def restored_table() -> list[str]:
    return [
        restored(reader, condition, system)
        for reader in READERS
        for condition in ("one-erased", "erased", "half-erased")
        for system in ("ctc-beam", "ctc-ngram", "ctc-gap")
    ]


def oracle_table() -> list[str]:
    return [
        restored(reader, condition, f"ctc-gap{known}")
        for reader in (*READERS, IDEAL)
        for condition in ("one-erased", "erased", "half-erased")
        for known in ("", "@oracle-place", "@oracle-count")
    ]


def budget(system: str, part: str) -> str:
    """Points of CER behind `mini` where a fifth of the ink is erased."""
    (found,) = (
        one for one in on_ink()["budget"]
        if (one["reader"], one["condition"], one["system"]) == ("mini", "erased", system)
    )  # fmt: skip
    return fixed(100 * found[part] / found["characters"], 1)


HEADS_BY_SEED = ("mini", "seed 1", "seed 2", "seed 3")
SEEDED = ("language on clean lines", "more where ink is lost", "knowing the gap")


def by_seed() -> Any:
    return stored("two-cores-seeds/seeds.json")


def effect(name: str, head: str) -> list[str]:
    """An effect in log-odds behind a head, its value computed from the counts."""
    (found,) = (
        one for one in by_seed()["judged"]
        if (one["contrast"]["name"], one["reader"]) == (name, head)
    )  # fmt: skip
    cells = {tuple(cell): blocks for *cell, blocks in by_seed()["cells"]}

    def log_odds(condition: str, system: str) -> float:
        blocks = cells[head, "english", condition, system]
        characters, right = (sum(block[column] for block in blocks) for column in (0, 1))
        return math.log((right + 0.5) / (characters - right + 0.5))

    value = sum(
        weight * (log_odds(condition, system) - log_odds(condition, other))
        for weight, _, condition, system, other in found["contrast"]["terms"]
    )
    assert value == pytest.approx(found["value"])
    return [fixed(value, 2, "+"), *(fixed(found["interval"][end], 2) for end in ("low", "high"))]


# The correction run.

CORRECTED = ("ctc-greedy+speller", "ctc-beam+lm", "ctc-ngram+lm", "ar-beam+lm")


@functools.cache
def correction() -> dict[tuple[str, str, str], tuple[Reading, Difference, float | None]]:
    """Lines, gain and p-value behind a corrector, by decoder, set and damage.

    The p-values are adjusted by Holm over all of them.
    """
    found = [
        (reading, reading.corrector_gain)
        for reading in readings([RunStore(REFERENCE / "two-cores-correction")])
        if reading.row.correction is not None
    ]
    adjusted = holm([None if gain is None else gain.p for _, gain in found])
    return {
        (r.row.decoder, r.row.condition.dataset, r.row.condition.damage): (r, gain, p)
        for (r, gain), p in zip(found, adjusted, strict=True) if gain is not None
    }  # fmt: skip


def before_after(decoder: str, dataset: str = "ink", damage: str = "none") -> list[str]:
    reading, gain, _ = correction()[decoder, dataset, damage]
    after = reading.edits.sum() / reading.characters.sum()
    digits = 2 if (dataset, damage) == ("ink", "none") else 1
    return [fixed(100 * value, digits) for value in (after + gain.value, after)]


def gain_behind(decoder: str, dataset: str = "ink", damage: str = "none") -> list[str]:
    """Points of CER gained by a corrector, with the interval."""
    _, gain, _ = correction()[decoder, dataset, damage]
    assert gain.interval is not None
    ends = (gain.interval.low, gain.interval.high)
    return [fixed(100 * gain.value, 2, "+"), *(fixed(100 * end, 2) for end in ends)]


def wins(decoder: str) -> list[int]:
    """Conditions better, worse, and the same two where it is significant after Holm."""
    own = [
        (gain.value, significant(gain.interval, p))
        for (name, *_), (_, gain, p) in correction().items() if name == decoder
    ]  # fmt: skip
    return [
        sum(sign * value > 0 and found >= least for value, found in own)
        for least in (False, True)
        for sign in (1, -1)
    ]


def detectable(decoder: str, dataset: str) -> str:
    """Points of CER that the first step of Holm finds four times in five, about; undamaged."""
    _, gain, _ = correction()[decoder, dataset, "none"]
    assert gain.interval is not None
    tests = sum(p is not None for *_, p in correction().values())
    error = (gain.interval.high - gain.interval.low) / (2 * norm.isf(0.025))
    return fixed(100 * error * float(norm.isf(0.025 / tests) + norm.isf(0.2)), 2)


def inside(decoder: str, damage: str = "none") -> list[str]:
    """CER of `ink` by a CTC beam without language and with the language of a decoder."""
    clean = damage == "none"
    cers = (
        row(name, "ink", damage, 0 if clean else 3, "two-cores-correction")["cer"]
        for name in ("ctc-beam", decoder)
    )
    return [fixed(100 * value, 2 if clean else 1) for value in cers]


# Speed.


def speed_ratio(model: str) -> list[str]:
    """CTC greedy against AR beam 10, batch 1: the ratio and the range of its rounds."""
    data = stored("two-cores-speed/speed.json")
    (found,) = (
        r["ratio"] for r in data
        if (r["model"], r["decoder"], r["batches"]) == (model, "ctc-greedy", [1])
    )  # fmt: skip
    return [fixed(found[name], 2) for name in ("median", "low", "high")]


def perf(
    encoder: str, decoder: str, batch: int, beam: int | None = None,
    damage: list[Any] | None = None, run: str = "two-cores-perf", head: str | None = None,
) -> list[str]:  # fmt: skip
    """Time of the peer over ours, round by round: median, lowest, highest."""
    found = compared(encoder, decoder, batch, beam, damage, run, head)
    ratios = [peer / own for own, peer in zip(found["ours_s"], found["peer_s"], strict=True)]
    return [fixed(value, 1) for value in (median(ratios), min(ratios), max(ratios))]


def compared(
    encoder: str, decoder: str, batch: int, beam: int | None, damage: list[Any] | None, run: str,
    head: str | None,
) -> dict[str, Any]:  # fmt: skip
    data = stored(f"{run}/perf.json")
    found: dict[str, Any]
    (found,) = (
        result for result in data["results"]
        if (one := result["comparison"])
        and (one["encoder"], one["ours"]["decoder"], one["batch"]) == (encoder, decoder, batch)
        and one["damage"] == damage
        and beam in (None, one["ours"]["options"].get("beam"))
        and one["ours"]["options"].get("head") == head
    )  # fmt: skip
    return found


def on_base(batch: int, beam: int, encoder: str = "trocr-base", **options: str) -> list[str]:
    return perf(encoder, "ar-beam", batch, beam, None, "two-cores-perf-base", **options)


def rounded_cer() -> str:
    one = compared("mini", "ar-beam", 32, 5, None, "two-cores-perf-head", "bfloat16")
    assert one["same"] == one["comparison"]["lines"] == 300 and one["ours_cer"] == one["peer_cer"]
    return fixed(100 * one["ours_cer"], 2)


def slower_by(decoder: str, damage: list[Any] | None = None) -> list[str]:
    """Time of ours over the peer's, round by round: median, lowest, highest."""
    found = compared("mini", decoder, 64, None, damage, "two-cores-perf-gap", None)
    ratios = [own / peer for own, peer in zip(found["ours_s"], found["peer_s"], strict=True)]
    return [fixed(value, 1) for value in (median(ratios), min(ratios), max(ratios))]


def flat(*parts: str | Iterable[str]) -> list[str]:
    return [n for part in parts for n in ([part] if isinstance(part, str) else part)]


MAIN = (
    "ar-beam", "ar-greedy", "ctc-greedy", "ctc-beam", "ctc-ngram", "ctc-gap", "ctc-kenlm",
    "ctc-rescore",
)  # fmt: skip
PLACES: tuple[tuple[Any, ...], ...] = (
    ("ink",), ("ink", "stroke_breaks", 3), ("ink", "char_erase", 3), ("ink", "char_erase", 5),
    ("unipen",), ("hooker",),
)  # fmt: skip
LEVELS: tuple[tuple[Any, ...], ...] = (
    ("ink",), ("ink-shuffled",), ("ink-pseudo",), ("ink-random",), ("ink", "stroke_breaks", 3),
    ("ink", "char_erase", 3), ("unipen",), ("hooker",),
)  # fmt: skip


def main_table() -> list[str]:
    return flat(
        *(flat(*(cer(name, *place) for place in PLACES), lines_per_s(name)) for name in MAIN)
    )


def readers() -> list[str]:
    """Greedy CTC, the 6-gram and the search that fills gaps, behind the shipped encoders."""
    return [
        cer(decoder, *place, encoder=encoder)
        for encoder in ("mini", "mini-torn", "ppocr")
        for place in LEVELS
        for decoder in ("ctc-greedy", "ctc-ngram", "ctc-gap")
    ]


def lines_per_s(decoder: str) -> str:
    return fixed(row(decoder, "ink")["timing"]["lines_per_s"]["median"], 1)


def base_encoder() -> str:
    """Seconds a line of TrOCR base's encoder, from which the integers beside it follow."""
    (found,) = (
        r for r in rows("two-cores") if (r["encoder"], r["decoder"]) == ("trocr-base", "ar-beam")
    )
    seconds = found["timing"]["encode_s"] / found["counts"]["lines"]
    width, places, layers = 768, 577, 12
    products = layers * places * width * (12 * width + 2 * places) + 576 * width * width
    rate = 2e-9 * products / seconds
    assert (round(2e-9 * products), round(rate), round(100 * rate / 189)) == (111, 176, 93)
    return fixed(seconds, 2)


def english(severity: int) -> str:
    """How well greedy CTC reads undamaged or damaged English, mean over the damages."""
    return fixed(25 * sum(greedy for greedy, _ in gains("english", severity)), 2)


def share(severity: int) -> str:
    """Gain of the 6-gram on English in percent of the errors of greedy CTC."""
    greedy = sum(greedy for greedy, _ in gains("english", severity)) / len(DAMAGES)
    return fixed(mean_gain("english", severity) / greedy, 1)


def head(encoder: str, dataset: str) -> list[str]:
    """CER of a trained head without a language model and with the 6-gram."""
    return [
        fixed(100 * head_cer(encoder, dataset, decoder), 1)
        for decoder in ("ctc-greedy", "ctc-ngram")
    ]


def head_cer(encoder: str, dataset: str, decoder: str) -> float:
    model = f"./runs/{encoder}/model"
    return float(row(decoder, dataset, run="two-cores-heads", encoder=model)["cer"])


HEADS = ("tiny-wide", "tiny-subcol", "tiny-linear")


def first(interval: list[str]) -> str:
    return interval[0]


def two(decoder: str, *place: Any) -> list[str]:
    """CER without language and with a decoder."""
    return [cer("ctc-greedy", *place), cer(decoder, *place)]


TROCR_CER = ["4.22", "3.42", "2.89"]  # small, base, large on IAM (Li et al., arXiv:2109.10282)
TROCR_SPEED = ["4.60", "4.37", "8.37"]  # sentences/s: base, large, small (the same)
OWN_NUMBERS = ["0.0189", "0.0276"]  # of the thesis that this project is for
OWN_LOSS = "0.87"  # points: their difference


# Greedy CTC on val, as the trainings reported it; not in `results/reference`.
MINI_VAL = [
    "3.3", "9.8", "22.1", "15.7", "27.2", "17.0", "15.3", "13.5", "12.6", "58.3", "29.5", "26.3",
    "24.0",
]  # fmt: skip
TORN_VAL = ["0.5", "12.6", "24.0", "14.6", "25.0", "15.3", "28.9", "12.5", "13.3"]


CLAIMS: dict[tuple[str, str], list[str]] = {
    ("README.md", "What it found"): flat(
        by_learned_hand(), by_learned_hand("ppocr"),
        cer_of_length("ar-beam", "unipen", 0, 70), cer_of_length("ar-beam", "unipen", 71, 1000),
        main_table(), cer("ctc-greedy", "ink"), cer("ctc-ngram", "ink"),
        cer("ctc-greedy", "unipen"), cer("ctc-ngram", "unipen"), cer("ctc-greedy", "hooker"),
        cer("ctc-ngram", "hooker"), cer("ctc-greedy", "ink", "half_line", 3),
        cer("ctc-ngram", "ink", "half_line", 3), cer("ctc-greedy", "ink", "strike", 3),
        cer("ctc-ngram", "ink", "strike", 3), cer("ctc-greedy", "ink", "noise", 3),
        cer("ctc-ngram", "ink", "noise", 3), cer("ctc-greedy", "ink", "char_erase", 3),
        cer("ctc-ngram", "ink", "char_erase", 3), cer("ctc-greedy", "ink", "char_erase", 5),
        cer("ctc-ngram", "ink", "char_erase", 5), cer("ctc-gap", "ink", "char_erase", 3),
        cer("ctc-gap", "ink", "char_erase", 5), cer("ctc-gap", "ink"), cer("ar-beam", "hooker"),
        wer("ar-beam", "hooker"), cer("ctc-greedy", "hooker"), wer("ctc-greedy", "hooker"),
    ),
    ("models/weights/ppocr.md", "What it reads"): [
        cer(decoder, *place, encoder="ppocr")
        for place in LEVELS for decoder in ("ctc-greedy", "ctc-ngram")
    ],
    ("models/weights/mini-torn.md", "mini-torn"): flat(
        TORN_VAL,
        *(
            cer("ctc-greedy", *place, encoder="mini-torn")
            for place in (
                ("ink",), ("ink", "stroke_breaks", 3), ("ink", "char_erase", 3), ("unipen",),
                ("hooker",),
            )
        ),
    ),
    ("models/weights/mini.md", "What it reads"): flat(
        "3.8", cer("ctc-greedy", "ink"), cer("ctc-ngram", "ink"), cer("ar-beam", "ink"),
        cer("ctc-greedy", "unipen"), "18.1", cer("ctc-ngram", "unipen"), cer("ar-beam", "unipen"),
        cer("ctc-greedy", "hooker"), "29.4", cer("ctc-ngram", "hooker"), cer("ar-beam", "hooker"),
        "29.6", "26.9", cer("ctc-greedy", "hooker"),
        "27.2", "30.3", cer("ctc-greedy", "ink", "stroke_breaks", 3),
        times("ink-random", "ctc-greedy", "ink", "ctc-greedy"), cer("ctc-greedy", "ink-random"),
        MINI_VAL, "1.3", *(times(name, "ar-beam", name, "ctc-ngram") for name in ("ink", "unipen")),
        times("hooker", "ar-beam", "hooker", "ctc-ngram", 2), "11.4",
    ),
    ("models/weights/mini.md", "Data and licences"): flat(
        "2.0", "10.5281", by_learned_hand(), by_learned_hand("ppocr")
    ),
    ("docs/results.md", 'How much language is in "no language"?'): flat(
        readers(),
        cer("ctc-greedy", "ink", "stroke_breaks", 3, encoder="mini-torn"),
        cer("ctc-greedy", "ink", "stroke_breaks", 3),
        cer("ctc-greedy", "ink", "char_erase", 3, encoder="mini-torn"),
        cer("ctc-greedy", "ink", "char_erase", 3), cer("ctc-greedy", "ink", encoder="mini-torn"),
        cer("ctc-greedy", "ink"), cer("ctc-ngram", "ink", "char_erase", 3, encoder="ppocr"),
        cer("ctc-gap", "ink", "char_erase", 3, encoder="ppocr"),
        cer("ctc-ngram", "unipen", encoder="ppocr"), cer("ctc-gap", "unipen", encoder="ppocr"),
    ),
    ("docs/results.md", "Does language matter more, the more of the ink is lost?"): flat(
        *(odds("more where ink is lost", reader) for reader in READERS),
        first(odds("language, not search", "mini", "+")),
        *(
            fixed(reading("mini", level, "erased", "ctc-ngram")["gain"]["value"], 2)
            for level in ("english", "random")
        ),
        *(odds("language, not search, at equal baseline", reader, "+") for reader in READERS),
        *(odds("knowing the gap", reader, "+") for reader in ("mini", "ppocr", "mini-torn")),
        *(odds("knowing the gap, weights by condition", reader, "+") for reader in READERS),
        restored("mini-torn", "erased", "ctc-gap@by-condition"),
        restored("mini-torn", "erased", "ctc-ngram@by-condition"),
        restored("mini-torn", "half-erased", "ctc-gap@by-condition"),
        restored("mini-torn", "half-erased", "ctc-ngram@by-condition"),
        *(odds("more where ink is lost, weights by condition", reader) for reader in READERS),
        odds("a marked gap", "ppocr", "+"), odds("inside the search", "mini", "+"),
        fixed(contrast("inside the search", "mini")["adjusted"], 2), restored_table(),
        *(restored("mini", place, "cloze") for place in ("one-erased", "erased", "half-erased")),
        oracle_table(), *(odds("an oracle of the place", reader, "+") for reader in READERS),
        odds("an oracle of the number", "mini"), odds("an oracle of the number", "ppocr"),
        restored(IDEAL, "half-erased", "ctc-gap@oracle-count"),
        *(budget("ctc-ngram", part) for part in ("search", "ink", "model", "best")),
        budget("ctc-gap", "best"),
        *(effect(name, head) for head in HEADS_BY_SEED for name in SEEDED),
        by_severity(english),
        by_severity(lambda s: fixed(mean_gain("english", s), 2)),
        by_severity(share),
        by_severity(lambda s: fixed(log_odds("english", s), 2)),
        *(
            by_severity(lambda s, level=level: fixed(mean_gain(level, s), 2))
            for level in ("shuffled", "pseudo", "random")
        ),
        slope("english"), slope("shuffled"), slope("pseudo"), slope("random"),
        slope_without_clean("english"),
        gain("stroke_breaks", 4), gain("stroke_breaks", 5), gain("char_erase", 4),
        gain("char_erase", 5), hidden_right("char_erase", 5, "R_hidden ctc-ngram"),
        hidden_right("char_erase", 5, "cloze ceiling"),
    ),
    ("docs/results.md", "A language model after the decoder"): flat(
        *(
            before_after(decoder, *place)
            for decoder in CORRECTED
            for place in (
                ("ink", "none"), ("ink", "stroke_breaks"), ("ink", "char_erase"),
                ("unipen", "none"), ("hooker", "none"),
            )
        ),
        *((detectable(decoder, "ink"), detectable(decoder, "hooker")) for decoder in CORRECTED),
        gain_behind("ctc-beam+lm"), gain_behind("ar-beam+lm"), gain_behind("ar-beam+lm", "hooker"),
        gain_behind("ctc-ngram+lm", "ink", "stroke_breaks"), gain_behind("ctc-ngram+lm", "hooker"),
        gain_behind("ctc-ngram+lm"), OWN_NUMBERS, OWN_LOSS,
        inside("ctc-ngram"), inside("ctc-ngram", "stroke_breaks"),
        before_after("ctc-beam+lm"), before_after("ctc-beam+lm", "ink", "stroke_breaks"),
        gain_behind("ctc-greedy+speller", "ink", "stroke_breaks"),
        gain_behind("ctc-greedy+speller", "hooker"),
    ),
    ("docs/results.md", "Speed"): flat(
        speed_ratio("small"), speed_ratio("base"), speed_ratio("large"),
        perf("trocr-base", "ar-beam", 8, 10), perf("trocr-base", "ar-beam", 8, 5),
        perf("trocr-base", "ar-greedy", 8), perf("trocr-base", "ar-beam", 1, 10),
        perf("mini", "ctc-ngram-word", 64), perf("mini", "ctc-ngram-word", 64, None, ["blot", 2]),
        first(perf("mini", "ctc-ngram", 64)),
        first(perf("mini", "ctc-ngram", 64, None, ["blot", 2])),
        on_base(1, 10), on_base(8, 5), on_base(8, 10),
        on_base(1, 10, head="bfloat16"), on_base(8, 5, head="bfloat16"),
        on_base(8, 10, head="bfloat16"),
        perf("mini", "ar-beam", 32, 5, run="two-cores-perf-head", head="bfloat16"), rounded_cer(),
        slower_by("ctc-gap"), slower_by("ctc-gap", ["blot", 2]),
        base_encoder(),
    ),
    ("docs/results.md", "Can CTC be put on TrOCR's encoder?"): flat(
        # FAU's HTR-Pipeline; Garrido-Munoz & Calvo-Zaragoza 2026.
        "66.5", "9.9", "18.7", "7.8",
        *(head(encoder, dataset) for encoder in HEADS for dataset in ("lines", "unipen", "hooker")),
    ),
    ("docs/questions.md", "Which decoder?"): flat(
        cer("ctc-greedy", "ink"), cer("ctc-ngram", "ink"), cer("ctc-greedy", "unipen"),
        cer("ctc-ngram", "unipen"), cer("ctc-greedy", "hooker"), cer("ctc-ngram", "hooker"),
        lines_per_s("ctc-ngram"), lines_per_s("ctc-greedy"), cer("ctc-beam", "ink"),
        cer("ctc-beam", "unipen"), cer("ctc-beam", "hooker"), cer("ctc-kenlm", "ink"),
        cer("ctc-kenlm", "unipen"), cer("ctc-kenlm", "hooker"), cer("ctc-rescore", "ink"),
        cer("ctc-rescore", "unipen"), cer("ctc-rescore", "hooker"), lines_per_s("ctc-rescore"),
        cer("ctc-ngram", "ink", "char_erase", 3), cer("ctc-gap", "ink", "char_erase", 3),
        cer("ctc-gap", "ink"), cer("ctc-gap", "unipen"), cer("ctc-gap", "hooker"),
        cer("ar-beam", "ink"), cer("ar-beam", "unipen"), cer("ar-beam", "hooker"), "4.22", "3.42",
        "2.89", cer("ar-beam", "ink", "blot", 3), cer("ctc-greedy", "ink", "blot", 3),
        cer("ctc-ngram", "ink", "blot", 3), "38.5", "53.9",
    ),
    ("docs/questions.md", "Can CTC be put on TrOCR's encoder?"): flat(
        "66.5",  # FAU's HTR-Pipeline
        *(head(encoder, "lines") for encoder in HEADS),
        *(head(encoder, dataset)[0] for dataset in ("unipen", "hooker") for encoder in HEADS),
        "18.7", "9.9", "7.8",  # Garrido-Munoz and Calvo-Zaragoza 2026
    ),
    ("docs/questions.md", "Should the baseline be a model of our own?"): flat(
        cer("ctc-greedy", "ink"), cer("ctc-greedy", "ink-random"), cer("ctc-greedy", "hooker"),
        cer("ctc-greedy", "unipen"), "8.44", "7.50", "4.6", "2.89",
    ),
    (
        "docs/questions.md",
        "Why did the LLM after TrOCR make it worse, and when does correction help?",
    ): flat(
        OWN_NUMBERS, OWN_LOSS, before_after("ctc-beam+lm"), gain_behind("ctc-beam+lm"),
        before_after("ar-beam+lm"), gain_behind("ar-beam+lm"),
        gain_behind("ar-beam+lm", "hooker"), gain_behind("ctc-ngram+lm", "ink", "stroke_breaks"),
        gain_behind("ctc-ngram+lm", "hooker"), before_after("ctc-ngram+lm"),
        gain_behind("ctc-ngram+lm"),
        inside("ctc-ngram", "stroke_breaks"),
        before_after("ctc-beam+lm", "ink", "stroke_breaks"),
        gain_behind("ctc-greedy+speller", "ink", "stroke_breaks"),
        gain_behind("ctc-greedy+speller", "hooker"),
    ),
    ("docs/questions.md", "Which size of TrOCR?"): flat(
        TROCR_SPEED, speed_ratio("small"), speed_ratio("base"), speed_ratio("large"), TROCR_CER
    ),
    ("docs/questions.md", "Which data?"): [],
    ("docs/questions.md", "Is it over-fitted?"): ["8.5"],  # public attempts: docs of the thesis
    ("docs/questions.md", "How should damage be made, and what is representative?"): flat(
        two("ctc-ngram", "ink", "stroke_breaks", 3), two("ctc-ngram", "ink", "half_line", 3),
        two("ctc-ngram", "ink", "char_erase", 3),
        two("ctc-ngram", "ink", "char_erase", 5)[::-1],
        slope("english"), slope("shuffled"), slope("random"), share(0), share(5),
        fixed(log_odds("english", 0), 2), fixed(log_odds("english", 5), 2),
        hidden_right("char_erase", 5, "R_hidden ctc-ngram"),
        hidden_right("char_erase", 5, "cloze ceiling"),
        *(restored(reader, "one-erased", "ctc-gap") for reader in READERS),
        *(restored(reader, "one-erased", "ctc-ngram") for reader in READERS),
        *(restored(reader, "one-erased", "ctc-gap@oracle-place") for reader in READERS),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("file", "heading"), CLAIMS, ids=lambda part: part.split("/")[-1])
def test_numbers_follow_from_the_committed_rows(file, heading):
    assert decimals(file, heading) == CLAIMS[file, heading]


@pytest.mark.parametrize("file", ["README.md", "docs/questions.md", "docs/results.md"])
def test_no_other_section_has_measured_numbers(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", text))
    without = [h for h in headings if (file, h) not in CLAIMS]
    assert {h: decimals(file, h) for h in without if decimals(file, h)} == {}


@pytest.mark.parametrize("file", ["docs/scale.md", "docs/scale.ja.md"])
def test_what_a_large_study_needs_follows_from_the_committed_rows(file):
    lines, cells = 65_000 * 300, 65_000 * 15
    mini = [row for row in rows("two-cores") if row["encoder"] == "mini" and row["timing"]]
    encode, decode = [], dict[str, list[float]]()
    for each in mini:
        time, count = each["timing"], each["counts"]["lines"]
        encode.append((time["host_s"] + time["encode_s"]) / count)
        decode.setdefault(each["decoder"], []).append(time["decode_s"]["median"] / count)
    encoder = sum(encode) / len(encode)
    decoder = sum(sum(one) / len(one) for one in decode.values()) / len(decode)
    assert len(decode) == 8
    folder = REFERENCE / "two-cores"
    texts = [len(gzip.decompress(path.read_bytes())) for path in (folder / "lines").iterdir()]
    row_size = (folder / "rows.jsonl").stat().st_size / len(rows("two-cores"))
    text = (ROOT / file).read_text(encoding="utf-8")
    shown = re.findall(r"\d[\d,.]*(?= (?:ms|hours|時間|GB|kB))", text)
    parts = [round(lines * encoder / 3600), round(15 * lines * decoder / 3600)]
    cluster = stored("two-cores-cluster/cluster.json")
    runs, write_s = cluster["runs"], cluster["write_ms"]["median"] / 1000
    start = next(run for run in runs if "eight_tasks_s" in run)
    further = (start["eight_tasks_s"] - start["one_task_s"]) / 7
    study = sum(parts) + 65_000 * further / 3600
    speeds = {
        n: [cluster["lines"] / run["wall_s"] for run in runs if run["workers"] == n]
        for n in (1, 2, 4)
    }
    assert re.findall(r"(\d+\.\d+) \[(\d+\.\d+), (\d+\.\d+)\]", text) == [
        tuple(fixed(x, 1) for x in (sum(one) / 2, min(one), max(one))) for one in speeds.values()
    ]
    whole = sum(run["wall_s"] for run in runs if run["workers"] == 1) / 2 - start["one_task_s"]
    assert re.findall(r"(\d+\.\d+)(?= s\b| s )", text) == [
        fixed(x, 1) for x in (start["one_task_s"], further, whole / cluster["tasks"])
    ]
    assert shown == [
        fixed(1000 * encoder, 1), str(parts[0]), fixed(1000 * decoder, 1), str(parts[1]),
        fixed(cells * row_size / 1e9, 1), fixed(cells * sum(texts) / len(texts) / 1e9, 0),
        str(sum(parts)), fixed(sum(texts) / len(texts) / 1e3, 0),
        f"{lines / 4.60 / 3600:,.0f}",
        *(fixed(study / machines, 1) for machines in (16, 64, 256)),
        fixed(1000 * write_s, 1), fixed(cells * write_s / 3600, 1),
    ]  # fmt: skip


def test_wins_are_counted_one_way_for_every_corrector():
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"(?m)^\| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| [\d.]+ \| [\d.]+ \|$", text
    )
    assert {name: list(map(int, counts)) for name, *counts in shown} == {
        name: wins(name) for name in CORRECTED
    }
    tests = sum(p is not None for *_, p in correction().values())
    assert f"with Holm over the {tests} tests of the table" in text
    loss = -float(OWN_LOSS)
    assert all(float(gain_behind("ar-beam+lm", dataset)[1]) > 0 for dataset in ("ink", "hooker"))
    assert (
        float(gain_behind("ctc-ngram+lm")[1])
        > loss
        > float(gain_behind("ctc-ngram+lm", "hooker")[1])
    )
    (speller, *_) = correction()["ctc-greedy+speller", "ink", "none"]
    lines = speller.row.correction
    assert lines is not None
    assert f"it makes {lines['improved']} lines better and {lines['worse']} worse" in " ".join(
        text.split()
    )


def test_the_finding_on_real_ink_is_said_as_it_came_out():
    def verdicts(name: str) -> list[str]:
        return [contrast(name, reader)["verdict"] for reader in READERS]

    assert on_ink()["design"]["sha256"] == read_design().sha256
    assert on_ink()["left_out"] == {}
    assert verdicts("more where ink is lost") == ["not shown", "not shown", "the opposite holds"]
    assert set(verdicts("language, not search")) == {"holds"}
    assert verdicts("more where ink is lost, weights by condition") == [
        "not shown", "not shown", "the opposite holds",
    ]  # fmt: skip
    assert set(verdicts("language, not search, at equal baseline")) == {"holds"}
    assert set(verdicts("knowing the gap, weights by condition")) == {"holds"}
    assert verdicts("knowing the gap") == ["holds", "not shown", "holds"]
    assert verdicts("an oracle of the place") == ["holds", "not shown", "not shown"]
    opposite = "the opposite holds"
    assert verdicts("an oracle of the number") == ["not shown", "not shown", opposite]
    shown = {one["reader"]: one["verdict"] for one in by_seed()["judged"]
             if one["contrast"]["name"] == "more where ink is lost"}  # fmt: skip
    assert shown == dict.fromkeys(HEADS_BY_SEED, opposite)
    assert len(by_seed()["judged"]) == 12 and by_seed()["training"]["lines"] == 1455
    assert verdicts("a marked gap") == ["not shown", "not shown", "holds"]
    assert contrast("inside the search", "mini")["verdict"] == "not shown"
    assert len(on_ink()["judged"]) == 34
    assert reading("mini", "english", "one-erased", "cloze")["hidden"] == 48
    sets = on_ink()["read"].values()
    assert {one["lines"] for one in sets} == {57}
    assert on_ink()["read"]["english"]["blocks"]["count"] == 19


def test_the_finding_on_real_ink_follows_from_its_rows():
    design, run = on_ink()["design"], "two-cores-language-ink"
    cers = {
        (r["encoder"], r["condition"]["dataset"], r["decoder"], r["condition"]["severity"],
         r["condition"]["damage"], *r["damage_options"].items()): r["cer"]
        for r in rows(run)
    }  # fmt: skip
    assert len(cers) == len(rows(run))
    for one in on_ink()["readings"]:
        if one["system"] != "cloze" and one["reader"] in READERS:
            damage = design["conditions"][one["condition"]]
            place = (
                one["reader"], design["sets"][one["level"]], one["system"], damage["severity"],
                damage["damage"] or "none", *damage["options"].items(),
            )  # fmt: skip
            assert one["cer"]["value"] == pytest.approx(cers.pop(place))
    assert cers == {}


def test_words_that_stand_on_rows():
    assert len(conditions()) == 15
    worse = {
        (encoder, dataset, decoder)
        for encoder in HEADS
        for dataset in ("unipen", "hooker")
        for decoder in ("ctc-ngram", "ctc-kenlm")
        if head_cer(encoder, dataset, decoder) > head_cer(encoder, dataset, "ctc-greedy")
    }
    assert {place for place in worse if place[1] == "unipen"} == {
        (encoder, "unipen", decoder) for encoder in HEADS for decoder in ("ctc-ngram", "ctc-kenlm")
    }
    assert len([place for place in worse if place[2] == "ctc-ngram"]) == 4
    assert len([place for place in worse if place[2] == "ctc-kenlm"]) == 5
