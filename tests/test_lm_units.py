"""Language models of another unit or with another space: understood or refused, never misread."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import ROOT
from bench.core.errors import UserError
from bench.core.files import read_text
from bench.core.named import Named, set_named
from decoders.ctc.kenlm import CTCKenLMSpec
from decoders.ctc.ngram import CTCNGramSpec, dense_lm
from decoders.ctc.ngram_word import CTCNGramWordSpec
from decoders.language import kenlm_files
from decoders.language.arpa import read_arpa, write_arpa
from decoders.language.kenlm_files import check_binary
from decoders.language.lm import kenlm_lm, ngram_lm
from decoders.language.ngram import characters_of, estimate, words_of
from decoders.language.units import unit_of
from models.alphabet import ALPHABET as OF_MINI
from tests.ctc_doubles import ALPHABET, encoded, info, random_matrix

FIXTURES = Path(__file__).parent / "fixtures"
CASES = ROOT.parent / "shared" / "cases" / "lm"
TEXT = (
    "the quick brown fox jumps over the lazy dog", "a cat and a dog sat on the cot",
    "pack my box with five dozen jugs", "on and on",
)  # fmt: skip

NUMBERS = ("log10_prob", "log10_backoff")

pytestmark = pytest.mark.usefixtures("untuned")


def character_model(folder: Path, space: str, text=TEXT, order: int = 3) -> str:
    """A model of characters whose file writes a space in one way or another."""
    path = folder / "chars.arpa"
    write_arpa(estimate(map(characters_of, text), order).model, path)
    path.write_text(path.read_text().replace("▁", space))
    return str(path)


def word_model(folder: Path, part=words_of) -> str:
    path = folder / "words.arpa"
    write_arpa(estimate(map(part, TEXT), 3).model, path)
    return str(path)


def read(decoder, alphabet=ALPHABET) -> list[tuple[str, float]]:
    decoder = decoder.open(info(alphabet))
    batch = encoded([random_matrix(seed, 30, len(alphabet), 0.6) for seed in range(6)], alphabet)
    found = [(line.text, line.score) for line in decoder.decode(batch)]
    decoder.close()
    return found


def both(lm: str, **options):
    return read(CTCNGramSpec(lm=lm, alpha=0.8, beta=0.5, **options))


@pytest.mark.parametrize("space", ["<space>", "|", " "])
def test_a_space_is_understood_however_it_is_written(tmp_path, space):
    ours = both(character_model(tmp_path, "▁"), score_boundary=True)
    assert sum(" " in text for text, _ in ours) > 3
    assert both(character_model(tmp_path, space), score_boundary=True) == ours


def test_flashlight_is_asked_for_the_space_that_the_file_has(tmp_path):
    pytest.importorskip("flashlight.lib.text")
    from decoders.ctc.flashlight import CTCFlashlightSpec

    ours = read(CTCFlashlightSpec(lm=character_model(tmp_path, "▁"), alpha=0.8, beta=0.5))
    theirs = read(CTCFlashlightSpec(lm=character_model(tmp_path, "<space>"), alpha=0.8, beta=0.5))
    assert ours == theirs
    with pytest.raises(UserError, match="cannot read"):
        read(CTCFlashlightSpec(lm=character_model(tmp_path, " ")))
    with pytest.raises(UserError, match=r"model of words.*ctc-ngram-word"):
        read(CTCFlashlightSpec(lm=word_model(tmp_path)))
    with pytest.raises(UserError, match="no entry for the space"):
        read(CTCFlashlightSpec(lm=character_model(tmp_path, "¤")))


@pytest.mark.parametrize(
    "part",
    [
        lambda line: [p for w in line.split() for p in (f"▁{w[:2]}", w[2:]) if p],
        lambda line: [p for w in line.split() for p in (f"{w[:1]}@@", w[1:]) if p],
        lambda line: [p for w in line.split() for p in (w[:2], w[2:], "<w>") if p],
    ],
)
def test_a_model_of_sub_words_is_neither(tmp_path, part):
    for decoder in (CTCNGramSpec, CTCNGramWordSpec, CTCKenLMSpec):
        with pytest.raises(UserError, match=r"model of sub-words.*no decoder here takes it"):
            decoder(lm=word_model(tmp_path, part)).open(info())


def test_units_of_other_scripts():
    marks = ("<unk>", "<s>", "</s>")
    assert unit_of((*marks, *"日本語のㄅ", "<space>")) == "char"
    assert unit_of((*marks, "日本", "語", "の", "手書き", "認識")) == "word"
    assert unit_of((*marks, "क", "कि", "नी", "▁")) == "char"  # with vowel signs
    assert unit_of((*marks, "ch", "cs", *"abdefg")) == "char"  # of an alphabet with digraphs
    assert unit_of(marks) == "word"


def test_a_model_without_a_space_is_refused(tmp_path):
    for text in (TEXT, (*TEXT, "a|b", "c_d")):  # a rare bar is no space
        lm = character_model(tmp_path, "▁", [line.replace(" ", "") for line in text])
        with pytest.raises(UserError, match="has no entry for the space"):
            both(lm)
    read(CTCNGramSpec(lm=lm), tuple(s for s in ALPHABET if s != " "))  # who writes none needs none


def test_a_model_that_lacks_many_letters_is_refused_by_their_names(tmp_path):
    lm = character_model(tmp_path, "▁", [line.translate(dict.fromkeys(b"qx")) for line in TEXT])
    both(lm)  # a twelfth
    lm = character_model(tmp_path, "▁", [line.translate(dict.fromkeys(b"qxz")) for line in TEXT])
    with pytest.raises(UserError, match="lacks 3 of the alphabet's 26 letters: q x z"):
        both(lm)


@pytest.mark.parametrize("decoder", [CTCNGramWordSpec, CTCKenLMSpec])
@pytest.mark.parametrize(("case", "lacks"), [(str.upper, "small letters"), (str.lower, "capitals")])
def test_words_in_one_case_are_refused_where_a_reader_writes_both(tmp_path, decoder, case, lacks):
    lm = word_model(tmp_path, lambda line: case(line).split())
    with pytest.raises(UserError, match=f"have no {lacks}, which e writes; build a model"):
        decoder(lm=lm).open(info(OF_MINI))
    one_case = ("", " ", *map(case, "abcdefghijklmnopqrstuvwxyz"))
    decoder(lm=lm).open(info(one_case)).close()
    both = word_model(tmp_path, lambda line: [*line.upper().split(), *line.split()])
    decoder(lm=both).open(info(OF_MINI)).close()


@pytest.mark.parametrize("decoder", [CTCNGramWordSpec, CTCKenLMSpec])
def test_words_with_their_accents_apart_are_refused(tmp_path, decoder):
    lines = [line.translate(str.maketrans("aeiou", "àéîöû")) for line in TEXT]
    alphabet = ("", " ", *sorted(set("".join(lines)) - {" "}))
    apart = [unicodedata.normalize("NFD", line) for line in lines]
    composed_lm, apart_lm = tmp_path / "composed.arpa", tmp_path / "apart.arpa"
    for path, text in ((composed_lm, lines), (apart_lm, apart)):
        write_arpa(estimate(map(words_of, text), 3).model, path)
    decoder(lm=str(composed_lm)).open(info(alphabet)).close()
    with pytest.raises(UserError, match=r"\(NFD\).*uconv -x any-nfc"):
        decoder(lm=str(apart_lm)).open(info(alphabet))


@pytest.mark.parametrize("decoder", [CTCNGramWordSpec, CTCKenLMSpec])
@pytest.mark.parametrize("escaped", ["&apos;s", "@-@"])
def test_words_that_moses_escaped_are_refused(tmp_path, decoder, escaped):
    lm = word_model(tmp_path, lambda line: [*words_of(line), escaped])
    with pytest.raises(UserError, match=f"escaped for Moses .{escaped}"):
        read(decoder(lm=lm))


@pytest.mark.parametrize("decoder", [CTCNGramWordSpec, CTCKenLMSpec, CTCNGramSpec])
@pytest.mark.parametrize(("mark", "other"), [("<s>", "<S>"), ("</s>", "</S>")])
def test_a_model_without_sentence_marks_is_refused(tmp_path, decoder, mark, other):
    is_char = decoder is CTCNGramSpec
    lm = Path(character_model(tmp_path, "|") if is_char else word_model(tmp_path))
    lm.write_text(lm.read_text().replace(mark, other))
    with pytest.raises(UserError, match=f"has no {mark}"):
        read(decoder(lm=str(lm)))


def test_a_model_that_is_not_there_is_one_sentence(tmp_path):
    set_named(Named(tmp_path, {"mine": "x.arpa"}))
    try:
        with pytest.raises(UserError, match=r"no language model min; .*did you mean mine"):
            read(CTCNGramWordSpec(lm="min"))
        with pytest.raises(UserError, match="is a folder; name the language model's file"):
            read(CTCKenLMSpec(lm=str(tmp_path)))
        with pytest.raises(UserError, match=r"no language model ~nobody-here/x\.arpa"):
            read(CTCNGramWordSpec(lm="~nobody-here/x.arpa"))
    finally:
        set_named(Named())


def test_text_with_its_accents_apart_is_read_composed(tmp_path):
    path = tmp_path / "mac.txt"
    path.write_text(unicodedata.normalize("NFD", "déjà vu\n"), "utf-8")
    assert read_text([path]) == ["déjà vu"]


@pytest.mark.parametrize(
    ("factor", "words"),
    [(np.log(10), r"base e, .* by 2\.302585"), (np.log2(10), "base 2, .* by 3.3")],
)
def test_logarithms_of_another_base_are_refused(tmp_path, factor, words):
    path = Path(word_model(tmp_path))
    model = read_arpa(path)
    other = [
        replace(each, **{name: getattr(each, name) * np.float32(factor) for name in NUMBERS})
        for each in model.orders
    ]
    write_arpa(replace(model, orders=tuple(other)), path)
    with pytest.raises(UserError, match=f"logarithms of {words}"):
        read_arpa(path)
    with pytest.raises(UserError, match=f"logarithms of {words}"):  # as for a binary
        check_binary(path, model.vocabulary)


@pytest.mark.parametrize("factor", [math.log(10), math.log2(10)])
@pytest.mark.parametrize("orders", [(1, 2), (2,), (1,)])
def test_higher_orders_of_another_base_are_refused(tmp_path, factor, orders):
    model = read_arpa(Path(character_model(tmp_path, "▁")))
    other = [
        replace(each, **{name: getattr(each, name) * np.float32(factor) for name in NUMBERS})
        if n in orders
        else each
        for n, each in enumerate(model.orders)
    ]
    write_arpa(replace(model, orders=tuple(other)), tmp_path / "other.arpa")
    with pytest.raises(UserError, match=f"base [e2] in its {orders[0] + 1}-grams"):
        read_arpa(tmp_path / "other.arpa")


def test_an_absurd_back_off_weight_is_refused(tmp_path):
    model = read_arpa(Path(character_model(tmp_path, "▁")))
    model.orders[0].log10_backoff[model.vocabulary.index("o")] = 300
    write_arpa(model, tmp_path / "other.arpa")
    with pytest.raises(UserError, match="1-grams after which the probabilities"):
        read_arpa(tmp_path / "other.arpa")


def test_probabilities_above_1_in_a_binary_are_refused(tmp_path, monkeypatch):
    path = Path(word_model(tmp_path))
    for value in ("0.25", "nan"):
        monkeypatch.setattr(kenlm_files, "_SCORE_EVERY_WORD", f"print(-1, '{value}')")
        with pytest.raises(UserError, match="probabilities above 1, what is no number"):
            check_binary(path, ("a", "b"))


def test_a_word_that_the_tables_of_a_binary_lack_is_refused(tmp_path):
    path = Path(word_model(tmp_path))
    words = read_arpa(path).vocabulary
    words = ("<unk>", *(word for word in words if word != "<unk>"))  # as a binary has them
    check_binary(path, words)
    with pytest.raises(UserError, match="words that its tables lack"):
        check_binary(path, (*words, "fogx"))


def test_words_with_absurd_probabilities_are_refused(tmp_path):
    path = Path(word_model(tmp_path))
    model = read_arpa(path)
    model.orders[0].log10_prob[:] = 0
    write_arpa(model, path)
    for read in (read_arpa, lambda path: check_binary(path, ("<unk>", *model.vocabulary[3:]))):
        with pytest.raises(UserError, match="words whose probabilities add up"):
            read(path)


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not beside the checkout")
def test_the_collected_cases(tmp_path):
    paths = {}
    for name in ("c4-ok", "c4-space", "w3"):
        paths[name] = tmp_path / f"{name}.arpa"
        paths[name].write_bytes(gzip.decompress((CASES / f"{name}.arpa.gz").read_bytes()))
    ours, theirs = (ngram_lm(str(paths[n]), "char", 6).model for n in ("c4-ok", "c4-space"))
    tables = [dense_lm(model, OF_MINI, "m") for model in (ours, theirs)]
    assert np.array_equal(tables[0].log_prob, tables[1].log_prob)
    assert np.array_equal(tables[0].following, tables[1].following)
    with pytest.raises(UserError, match="model of words"):
        ngram_lm(str(paths["w3"]), "char", 6)
    with pytest.raises(UserError, match="model of characters"):
        kenlm_lm(str(paths["c4-ok"]))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_model_is_the_same_model(tmp_path, monkeypatch, pack):
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path / "cache"))
    plain, packed = tmp_path / "w3.arpa", tmp_path / "w3.arpa.z"
    write_arpa(estimate(map(words_of, TEXT), 3).model, plain)
    packed.write_bytes(pack(plain.read_bytes()))
    ours, theirs = kenlm_lm(str(plain)), kenlm_lm(str(packed))
    assert (ours.words, ours.sha256, ours.order) == (theirs.words, theirs.sha256, theirs.order)
    assert theirs.path.read_bytes() == plain.read_bytes()
    assert theirs.trained_on == "unknown text (w3.arpa.z)"
    theirs.path.write_bytes(b"damaged")
    assert kenlm_lm(str(packed)).path.read_bytes() == plain.read_bytes()
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(UserError, match="copy or download it again"):
        kenlm_lm(str(packed))


def test_a_model_whose_name_hides_its_compression_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "x.arpa"
    shutil.copy(FIXTURES / "bz2-named.arpa.bz2", path)
    assert kenlm_lm(str(path)).words


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x28\xb5\x2f\xfd\x24\xff", "unpack it with unzstd"),
        (b"PK\x03\x04\xff", "unpack it with unzip"),
        (gzip.compress(bytes(300 << 20)), "over 200 times its size"),
    ],
)
def test_what_cannot_be_unpacked_is_one_sentence(tmp_path, monkeypatch, content, sentence):
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "x.arpa"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        ngram_lm(str(path), "char", 6)
    assert not list((tmp_path / "cache").rglob("*.arpa*"))


@pytest.mark.parametrize("head", [f"ngram 1={'9' * 5000}", f"ngram {'1' * 5000}=1"])
def test_counts_that_no_model_has_are_refused(tmp_path, head):
    path = tmp_path / "x.arpa"
    path.write_text(f"\\data\\\n{head}\n")
    with pytest.raises(UserError, match="line 2: expected 'ngram 1=COUNT', found"):
        read_arpa(path)
