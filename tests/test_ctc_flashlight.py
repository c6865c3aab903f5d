"""The peer: what it says of itself and how it fits, with its package and without."""

from __future__ import annotations

import math

import pytest

from bench.core.errors import UserError
from decoders.ctc import flashlight as ctc_flashlight
from decoders.ctc.flashlight import CTCFlashlightSpec
from decoders.language.arpa import write_arpa
from decoders.language.ngram import characters_of, estimate, words_of
from tests.ctc_doubles import ALPHABET, encoded, info, logs, written

TEXT = ("the cat and the dog", "a cat sat on the cot", "the dog sat on a cat")
LETTERS = "bfijklmpqruvwxyz"  # a model of characters has to know the alphabet


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flashlight")
    for name, split in (("word", words_of), ("char", characters_of)):
        text = TEXT if name == "word" else (*TEXT, LETTERS)
        write_arpa(estimate(map(split, text), 3).model, folder / f"{name}.arpa")
    return {name: str(folder / f"{name}.arpa") for name in ("word", "char")}


pytestmark = pytest.mark.usefixtures("untuned")


def read(matrices, frames=None, **options):
    pytest.importorskip("flashlight.lib.text")
    decoder = CTCFlashlightSpec(**options).open(info())
    lines = decoder.decode(encoded(matrices, ALPHABET, frames))
    decoder.close()
    return lines


def test_without_its_package_it_names_the_command(monkeypatch):
    monkeypatch.setattr(ctc_flashlight, "_installed", lambda: False)
    absent = CTCFlashlightSpec().missing(info())
    assert absent is not None and absent.remedy == "pip install flashlight-text"


@pytest.mark.parametrize("lexicon", [False, True])
def test_the_model_turns_a_close_call(files, lexicon):
    rows = written("the cat", sure=0.99)
    place = 2 * "the cat".index("a")
    rows[place] = [0.01] * len(ALPHABET)
    rows[place][ALPHABET.index("u")], rows[place][ALPHABET.index("a")] = 0.45, 0.35
    options = {"lm": files["word" if lexicon else "char"], "beta": 0.0, "lexicon": lexicon}
    (line,) = read([logs(rows)], alpha=1.0, **options)
    assert (line.text, line.tokens) == ("the cat", 7)
    (line,) = read([logs(rows)], alpha=0.0, **options)
    assert line.text == ("the cat" if lexicon else "the cut")


def test_the_score_is_natural_log_with_both_marks(files):
    import kenlm

    (line,) = read([logs(written("a cat", sure=0.999))], lm=files["char"], alpha=0.7, beta=0.0)
    language = kenlm.Model(files["char"]).score("a ▁ c a t") * math.log(10)
    assert line.text == "a cat"
    assert line.score == pytest.approx(10 * math.log(0.999) + 0.7 * language, abs=0.02)


def test_the_lexicon_has_to_fit(files):
    pytest.importorskip("flashlight.lib.text")
    with pytest.raises(UserError, match="can write none of the"):
        CTCFlashlightSpec(lm=files["word"], lexicon=True).open(info(("", " ", "x")))
    with pytest.raises(UserError, match="beam_tokens is at least 1"):
        CTCFlashlightSpec(beam_tokens=0)
