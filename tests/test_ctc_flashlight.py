"""The peer: what it says of itself and how it fits, with its package and without."""

from __future__ import annotations

import importlib.metadata

import pytest

from bench.analysis.doctor import look_up
from bench.core.errors import Unavailable
from decoders import DECODERS
from decoders.ctc.flashlight import CTCFlashlightSpec
from decoders.language.arpa import write_arpa
from decoders.language.ngram import characters_of, estimate
from tests.ctc_doubles import ALPHABET, encoded, info, logs, written

TEXT = ("the cat and the dog", "a cat sat on the cot", "the dog sat on a cat")
LETTERS = "bfijklmpqruvwxyz"  # a model of characters has to know the alphabet


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("flashlight") / "char.arpa"
    write_arpa(estimate(map(characters_of, (*TEXT, LETTERS)), 3).model, path)
    return str(path)


pytestmark = pytest.mark.usefixtures("untuned")


def read(matrices, frames=None, **options):
    pytest.importorskip("flashlight.lib.text")
    decoder = CTCFlashlightSpec(**options).open(info())
    lines = decoder.decode(encoded(matrices, ALPHABET, frames))
    decoder.close()
    return lines


def test_without_its_package_it_is_not_here(monkeypatch):
    def version(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    absent = look_up(DECODERS, "ctc-flashlight")
    assert not absent.here and absent.remedy == "pip install flashlight-text"
    with pytest.raises(Unavailable, match="needs the package flashlight-text"):
        DECODERS.create("ctc-flashlight")


def test_the_model_turns_a_close_call(lm):
    rows = written("the cat", sure=0.99)
    place = 2 * "the cat".index("a")
    rows[place] = [0.01] * len(ALPHABET)
    rows[place][ALPHABET.index("u")], rows[place][ALPHABET.index("a")] = 0.45, 0.35
    (line,) = read([logs(rows)], alpha=1.0, beta=0.0, lm=lm)
    assert (line.text, line.tokens) == ("the cat", 7)
    (line,) = read([logs(rows)], alpha=0.0, beta=0.0, lm=lm)
    assert line.text == "the cut"
