"""Tuning on a validation split, and the file that freezes what was found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pytest

from bench.analysis.tuning import tune
from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.registry import Entry, Registry
from bench.core.types import Decoded, Encoded, EncoderInfo, Needs, Runtime
from bench.pipeline.plan import Registries, Selection
from bench.report import render
from bench.report.tuning import as_good, notes, stem, table
from decoders import tuned
from decoders.base import DecoderSpec
from decoders.ctc.greedy import best_path
from decoders.ctc.ngram import CTCNGramSpec
from decoders.tuned import FEW, Tunable, find, freeze, load
from tests.ctc_doubles import info
from tests.harness_doubles import TEXTS, registries, track

OPENED: list[str] = []


@dataclass(frozen=True)
class ShakySpec(DecoderSpec):
    """Reads best at cut 2 and keep 0.5: every step away from that costs a character a line."""

    needs: ClassVar[Needs] = "log_probs"
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "cut": (0.0, 1.0, 2.0, 3.0),
        "keep": (0.0, 0.5, 1.0),
    }
    cut: float | None = None
    keep: float | None = None
    width: int = 7

    def __post_init__(self) -> None:
        check_least(self, 1, "width")

    def open(self, encoder: EncoderInfo) -> Tunable:
        OPENED.append("open")
        return Shaky(self, ({}, ""))


class Shaky(Tunable):
    def close(self) -> None:
        OPENED.append("close")

    def extras(self) -> Mapping[str, Any]:
        return {"lm": "embedded", "lm_sha256": "f" * 64, **self.values}

    def decode(self, encoded: Encoded) -> list[Decoded]:
        off = int(abs(self.values["cut"] - 2) + 2 * abs(self.values["keep"] - 0.5))
        lines = best_path(encoded)
        return [replace(line, text=line.text[: len(line.text) - off]) for line in lines]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path_factory.mktemp("cache")))


def mine() -> Registries:
    return registries(
        shaky=Entry(f"{__name__}:ShakySpec", "needs tuning"),
        **{"ctc-greedy": Entry("decoders.ctc.greedy:CTCGreedySpec", "best path")},
    )


ASKED = Selection(
    ("pixels",),
    ("shaky",),
    ("words",),
    damages=("none", "eraser"),
    severities=(2,),
    split="val",
    runtime=Runtime(batch_size=5),
)


def tuned_entry(grid: Mapping[str, tuple[float, ...]] | None = None, **changes: Any) -> tuned.Tuned:
    OPENED.clear()
    return tune(replace(ASKED, **changes), mine(), track, grid)


def test_the_best_point_with_all_that_it_was_tuned_on():
    entry = tuned_entry()
    assert entry.values == {"cut": 2.0, "keep": 0.5}
    characters = 2 * sum(map(len, TEXTS))
    erased = sum(min(2, len(text)) for text in TEXTS)
    assert entry.cer == pytest.approx(erased / characters)
    assert entry.greedy_cer == entry.cer
    assert (entry.decoder, entry.encoder, entry.lm) == ("shaky", "pixels", "embedded")
    assert entry.weights == "0123456789abcdef"
    assert entry.lm_sha256 == "f" * 64
    assert (entry.dataset, entry.split, entry.lines) == ("words", "val", len(TEXTS))
    assert len(entry.dataset_sha256) == 64
    assert entry.conditions == ("clean", "eraser 2")
    assert entry.options == {"width": 7}
    assert entry.grid == ShakySpec.tunes
    assert OPENED == ["open", "close"]  # opened once for the whole grid
    points = [(point["cut"], point["keep"]) for point in entry.cer_map]
    assert points == list(itertools.product(*ShakySpec.tunes.values()))
    worst = max(entry.cer_map, key=lambda point: point["cer"])
    assert (worst["cut"], worst["keep"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"split": "test"}, "tuned on the split 'val' and not on 'test'"),
        ({"decoders": ("reader",)}, "reader has no weights to tune"),
        ({"damages": ("erasor",)}, "did you mean eraser"),
        ({"grid": {"kut": (1.0,)}}, "does not tune 'kut'; did you mean cut"),
        ({"grid": {"cut": ()}}, "no values of cut"),
        ({"grid": {"width": (0.0,)}}, "width is 0; give at least 1"),
        ({"grid": {"width": (7.5,)}}, "width of shaky is a whole number"),
        ({"severities": (6,)}, "severity 6"),
        ({"options": {"words": {"size": 0}}}, "no line in its split val"),
        ({"options": {"pixels": {"weights": "untrained"}}}, "untrained"),
        ({"options": {"pixels": {"head": False}}}, "no CTC head"),
    ],
)
def test_searches_that_are_refused(change, sentence):
    with pytest.raises(UserError, match=sentence):
        tuned_entry(**change)
    assert OPENED in ([], ["open", "close"])


# The file


def test_frozen_and_found_again(tmp_path):
    path = tmp_path / "tuned.json"
    assert load(path) == ()
    entry = tuned_entry()
    assert freeze(entry, path) == path
    freeze(replace(entry, encoder="other"), path)
    assert len(load(path)) == 2
    assert find("shaky", "pixels", "embedded", path) == entry
    assert find("shaky", "pixels", "0" * 64, path) is None
    freeze(replace(entry, values={"cut": 1.0, "keep": 1.0}), path)  # takes its place
    found = find("shaky", "pixels", "embedded", path)
    assert found is not None and found.values == {"cut": 1.0, "keep": 1.0}
    assert len(load(path)) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["tuned.json"]
    source = replace(entry, lines=FEW).source(entry.weights, entry.lm_sha256)
    assert source.startswith("words-val@")
    assert source.endswith("read by pixels@01234567, clean + eraser 2")
    assert entry.source("new", "new").endswith("encoder weights and language model")


@pytest.mark.parametrize(
    "content",
    ["", '{"schema": 2, "entries": []}', '{"schema": 1, "entries": [{"decoder": "x"}]}'],
)
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "tuned.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"tuned\.json"):
        load(path)
    with pytest.raises(UserError, match=r"tuned\.json"):
        freeze(tuned_entry(), path)
    assert path.read_text() == content


def test_an_entry_that_lacks_a_weight_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")
    entry = replace(tuned_entry(), decoder="ctc-ngram", encoder="mini", values={"alfa": 0.5})
    freeze(entry, tuned.PATH)
    encoder = replace(info(), name="mini")
    with pytest.raises(UserError, match=r"tuned\.json lacks alpha, beta of ctc-ngram on mini"):
        tuned.weights(CTCNGramSpec(), encoder, (entry.lm, entry.lm_sha256), "ctc-ngram")


def test_the_projects_own_file_is_sound():
    for entry in load():
        assert entry.split == "val"
        assert entry.cer == min(point["cer"] for point in entry.cer_map)


# What is printed


def test_the_table_and_the_edge():
    entry = tuned_entry()
    text = render.markdown(table(entry))
    assert "cut 2 and keep 0.5" in text
    assert text.count("\n|") == 2 + len(ShakySpec.tunes["cut"])
    assert list(notes(replace(entry, lines=FEW))) == []
    edge = tuned_entry(grid={"cut": (2.0, 3.0), "keep": (0.5,)})
    (sentence,) = notes(replace(edge, lines=FEW))
    assert "the best cut, 2," in sentence


def test_weights_of_few_lines_are_noted_where_they_are_used():
    entry = tuned_entry()
    (sentence,) = notes(entry)
    assert sentence.startswith(f"{len(TEXTS)} lines are too few")
    source = entry.source(entry.weights, entry.lm_sha256)
    assert source.startswith(f"only {len(TEXTS)} lines of words-val@")
    assert not replace(entry, lines=FEW).source("", "").startswith("only")


@pytest.fixture
def command(call, monkeypatch):
    """The command on the doubles: exit code, stdout, stderr."""
    there = mine()
    for kind in ("encoders", "decoders", "datasets", "damages"):
        registry: Registry = getattr(there, kind)
        monkeypatch.setattr(getattr(Registries, kind), "entries", registry.entries)
    base = ("tune", "--encoder", "pixels", "--decoder", "shaky", "--dataset", "words")
    return partial(call, *base, "--severity", "2")


def test_the_command_freezes_and_tells(command, monkeypatch, tmp_path):
    shipped = tmp_path / "tuned.json"
    monkeypatch.setattr(tuned, "PATH", shipped)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tuned.own_path()
    code, out, err = command("--dry-run")
    assert code == 0 and "too few to choose weights by" in err
    assert "Best: cut 2 and keep 0.5" in " ".join(out.split())
    assert not path.exists()
    code, out, _ = command("--grid", "cut=1,3", "-o", "shaky.width=9")
    assert code == 0 and str(path) in out
    (entry,) = load(path)
    assert entry.values["cut"] == 1.0 and entry.options == {"width": 9}
    assert path.is_relative_to(tmp_path / "config") and not shipped.exists()
    info, lm = registries().encoders.create("pixels").open(Runtime()).info, ("embedded", "f" * 64)
    spec = replace(ShakySpec(), keep=0.0)
    freeze(replace(entry, values={"cut": 9.0, "keep": 9.0}))
    values, source = tuned.weights(spec, info, lm, "shaky")  # the user's own come first
    assert values == {"cut": 1.0, "keep": 0.0} and "; of the user's tuned.json" in source
    assert command("--into-shipped")[0] == 0 and load()[0].values["cut"] == 2.0
    code, out, _ = command("--json", "--dry-run", "--damage", "none")
    assert json.loads(out)["conditions"] == ["clean"]
    code, out, err = command("--grid", "cut=low")
    assert (code, out) == (2, "") and "OPTION=NUMBER" in err


# Other options, going on, the table


def test_other_numbers_equal_points_and_clean_lines():
    entry = tuned_entry(grid={"width": (7.0, 9.0), "keep": (0.5,)})
    assert OPENED == ["open", "open", "close", "close"]  # once for each width
    assert [point["width"] for point in entry.cer_map] == [7, 7, 7, 7, 9, 9, 9, 9]
    assert entry.values == {"cut": 2.0, "keep": 0.5}  # weights alone are frozen
    assert entry.options == {"width": 7}
    entry = tuned_entry(grid={"cut": (1.0, 3.0), "keep": (0.5,)}, damages=("none",), limit=3)
    assert entry.values == {"cut": 1.0, "keep": 0.5}  # the first of equals
    assert (entry.conditions, entry.lines) == (("clean",), 3)
    entry = tuned_entry(damages=("eraser",), limit=3)  # as in a run, clean lines only if named
    assert (entry.conditions, entry.cer) == (("eraser 2",), entry.greedy_cer)


def test_a_search_that_was_killed_goes_on_where_it_was(monkeypatch):
    whole = tuned_entry(seed=1)  # of another identity: nothing of it is used again
    before_it = set(cache_folder("tuning").iterdir())
    decode, read = Shaky.decode, []

    def counted(self, encoded):
        read.append(dict(self.values))
        if len(read) == 8:
            raise KeyboardInterrupt
        return decode(self, encoded)

    monkeypatch.setattr(Shaky, "decode", counted)
    with pytest.raises(KeyboardInterrupt):
        tuned_entry()
    (file,) = set(cache_folder("tuning").iterdir()) - before_it
    file.write_bytes(file.read_bytes() + b'{"values": {"cut": 0')  # torn by a kill
    before = len(read)
    entry = tuned_entry()
    assert entry.cer_map == whole.cer_map
    batches = -(-2 * len(TEXTS) // ASKED.runtime.batch_size)
    finished = 7 // batches
    assert finished >= 1  # of these nothing is read again
    assert len(read) - before == (len(whole.cer_map) - finished) * batches
    done = len(read)
    assert tuned_entry() == entry and len(read) == done
    file.write_bytes(file.read_bytes().replace(b'"edits": [1', b'"edits": [0', 1))  # a flipped bit
    assert tuned_entry() == entry and len(read) == done + batches


def test_what_may_be_as_good_as_the_best_is_told_and_bold():
    entry = tuned_entry()
    best = next(point for point in entry.cer_map if point["cer"] == entry.cer)
    worst = max(entry.cer_map, key=lambda point: point["cer"])
    assert best["p"] == 1.0 and as_good(best)
    assert worst["p"] == 2 / 64  # all of the six writers were read worse: 2 of 64 ways to swap
    assert not as_good(worst) and as_good({"p": 0.05})
    good = sum(as_good(point) for point in entry.cer_map)
    assert 0 < good < len(entry.cer_map)
    assert render.markdown(table(entry)).count("**") == 2 * good
    points = [{k: v for k, v in point.items() if k != "p"} for point in entry.cer_map]
    few = render.markdown(table(replace(entry, cer_map=tuple(points))))
    assert "**" not in few and "Bold" not in few

    lone = tuned_entry(grid={"cut": (2.0,), "keep": (0.5,)})
    assert "CER %" in render.markdown(table(lone))
    assert stem(replace(lone, decoder="a+b", encoder="./c/d")) == "tuning-a_b-._c_d"
