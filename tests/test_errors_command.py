"""`bench errors` as its user meets it: tables, formats, mistakes."""

from __future__ import annotations

import json

import pytest

from bench.cli.errors import vocabulary_of
from bench.core.errors import UserError
from bench.core.metrics import score_line
from bench.core.types import Row
from tests.error_runs import make
from tests.run_rows import row


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return make(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture
def errors(call, run):
    """Call the command on the run."""
    return lambda *words: call("errors", "--run", str(run[0].path), *words)


def test_the_clean_set_with_all_decoders_side_by_side(errors):
    code, out, err = errors()
    assert "left out: mini:ctc-kenlm on lines failed: out of memory" in err
    assert code == 1  # one of the chosen cells failed
    for title in (
        "Errors of mini on lines (synthetic), clean",
        "Classes of errors: mini on lines (synthetic), clean",
        "What decoders change of the errors of ctc-greedy: mini on lines (synthetic), clean",
        "What is read as what, characters",
        "What is read as what, words",
    ):
        assert " ".join(out.split()).count(title) == 1  # broken at the terminal's width
    assert "char_erase" not in out and "trocr" not in out
    assert out.count("Test CPU 9000") == 1  # the conditions once, above the first table


def test_the_numbers_are_those_of_the_lines(errors, run):
    store, clean = run
    code, out, _ = errors("--decoder", "ctc-greedy,ctc-ngram", "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["condition"]["damage"] == "none" and found["against"] is not None
    for system in found["systems"]:
        (row,) = [r for r in store.rows() if r.key == system["key"]]
        lines = store.lines(row.key)
        kinds = ("substitution", "deletion", "insertion")
        scores = [score_line(line.reference, line.text) for line in lines]
        assert system["cer"] == row.cer == sum(s.edits for s in scores) / system["characters"]
        assert system["kinds"] == {
            kind: count for kind in kinds if (count := sum(getattr(s, f"{kind}s") for s in scores))
        }
        for view in ("what", "where", "ending"):
            assert sum(system["classes"][view].values()) == row.counts.edits
        assert sum(system["classes"]["word"].values()) == row.counts.word_edits
        assert system["classes"]["sight"] == {}
        assert sum(count for *_, count in system["confusions"]) == row.counts.edits
    greedy, ngram = found["systems"]
    text = "".join(line.text for line in clean.lines)
    confusions = {(a, b): n for a, b, n in greedy["confusions"]}
    assert confusions == {("n", "u"): text.count("n"), ("w", "v"): text.count("w")}
    assert greedy["changes"] is None
    change = ngram["changes"]["what"]["similar shape"]
    assert (change["removed"], change["added"]) == (text.count("n") + text.count("w"), 0)
    assert change["interval"][0] <= change["net"] <= change["interval"][1] < 0
    assert ngram["changes"]["what"]["case"]["added"] == sum(map(str.isupper, text))


def test_a_damage_with_a_mask_tells_hallucinations(errors):
    _, out, _ = errors("--damage", "char_erase", "--json")
    (found,) = json.loads(out)
    for system in found["systems"]:
        assert sum(system["classes"]["sight"].values()) == sum(system["kinds"].values())
    half = found["systems"][0]["classes"]["sight"]  # ar-beam leaves out and puts in nothing
    assert "hallucination" not in half and half["left out, hidden"] > 0
    greedy = found["systems"][1]["classes"]["sight"]
    assert greedy["hallucination"] > 0 and "left out, hidden" not in greedy


def test_severity_alone_means_all_damages(errors):
    _, out, _ = errors("--severity", "2,3", "--json")
    assert [each["condition"]["damage"] for each in json.loads(out)] == ["char_erase", "defocus"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--decoder", "ctc-gredy"], "no decoder 'ctc-gredy'; did you mean ctc-greedy or ctc-ng"),
        (["--damage", "defocus", "--severity", "3"], "no row of damage defocus, severity 3 toget"),
        (["--encoder", "trocr-small"], "none of the chosen rows has a CER: untrained weights"),
        (["--decoder", "ctc-kenlm"], "none of the chosen rows has a CER: mini:ctc-kenlm on lines"),
        (["--top", "0"], "--top must be >= 1, not 0"),
        (["--xlsx", "x.ods"], "--xlsx writes .xlsx, which x.ods is not"),
        (["--json", "--format", "md"], "give --json or --format md, not both"),
        (["--vocabulary", "/no/such.arpa"], "/no/such.arpa"),
    ],
)
def test_mistakes_are_one_sentence(errors, words, sentence):
    code, out, err = errors(*words)
    message = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert message.startswith("error: ") and sentence in message and "Traceback" not in err


def test_words_are_judged_by_the_model_that_the_rows_were_read_with(tmp_path):
    def read_with(lm: str) -> Row:
        return row("ctc-kenlm", options={"lm": lm}, extras={"lm_words": 3})

    embedded = vocabulary_of(None, [row("ctc-greedy"), read_with("")])
    assert embedded == vocabulary_of("embedded", [read_with("elsewhere.arpa")])
    with pytest.raises(UserError, match=r"several word models .*name the one"):
        vocabulary_of(None, [read_with(""), read_with("own.arpa")])
    with pytest.raises(UserError, match=r"own\.arpa of the rows is not here; name one with --voc"):
        vocabulary_of(None, [read_with(str(tmp_path / "own.arpa"))])
