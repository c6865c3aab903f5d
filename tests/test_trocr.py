"""TrOCR checkpoints: the loaded one reads as the one that was saved; what does not fit is named."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    RobertaTokenizer,
    TrOCRConfig,
    VisionEncoderDecoderModel,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging as transformers_logging

from bench.core.errors import Unavailable, UserError
from bench.core.types import EncoderInfo
from decoders.ar.draft import DraftedSpec
from decoders.ar.hf import GenerateSpec
from decoders.ar.specs import AutoregressiveSpec
from models import hub
from models.trocr import TrOCRSpec
from models.trocr_files import generation_settings, trained_on
from tests.ctc_doubles import info
from tests.tiny_trocr import (
    IMAGE,
    SPECIAL,
    TEXT,
    Kind,
    edit,
    lines,
    opened,
    save_checkpoint,
    tiny_model,
    write_json,
)

KINDS: tuple[Kind, ...] = get_args(Kind)
LIMIT = 30
CONFIG, PROCESSOR, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer_config.json"
GENERATING, WEIGHTS = "generation_config.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
Saved = dict[Kind, tuple[Path, Any]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Kind to the folder of a checkpoint and the model that was saved; small ones are pickled."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        kind: (root / kind, save_checkpoint(root / kind, kind, seed=5, pickled=kind == "small"))
        for kind in KINDS
    }


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the base kind to spoil."""
    save_checkpoint(tmp_path / "tiny-trocr", "base", seed=5)
    return tmp_path / "tiny-trocr"


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_as_the_model_that_was_saved(kind: Kind, saved: Saved) -> None:
    """States and tokens, against a model that never went through a file."""
    folder, model = saved[kind]
    encoder = opened(folder)
    batch = encoder.prepare(lines(6))
    encoded = encoder.encode(batch)
    with torch.inference_mode():
        expected = model.encoder(batch).last_hidden_state
    torch.testing.assert_close(encoded.states, expected, rtol=0, atol=1e-5)
    assert encoded.state_mask.shape == encoded.states.shape[:2] and encoded.state_mask.all()
    assert encoded.states.shape[1] == (IMAGE // 8) ** 2 + (2 if kind == "small" else 1)
    for beam in (1, 4):
        sequences = model.generate(
            batch, num_beams=beam, max_new_tokens=LIMIT, decoder_start_token_id=2, eos_token_id=2,
            pad_token_id=1, use_cache=True, **({"early_stopping": True} if beam > 1 else {}),
        )  # fmt: skip
        assert sequences.shape[1] > 22, "lines longer than the 20 tokens of generate's default"
        found = AutoregressiveSpec(beam=beam, max_new_tokens=LIMIT).open(info()).decode(encoded)
        assert encoded.ar is not None
        assert [d.text for d in found] == [encoded.ar.detokenize(s[1:].tolist()) for s in sequences]


def test_what_a_row_says_of_it(checkpoint: Path) -> None:
    encoder, weights = opened(checkpoint), checkpoint / "model.safetensors"
    size = {"encoder": 0, "decoder": 0, "pooler": 0}
    for name, tensor in load_file(weights).items():
        part = "pooler" if name.startswith("encoder.pooler") else name.partition(".")[0]
        size[part] += tensor.numel()
    size["ar"] = size.pop("decoder")
    assert encoder.info.parameters == size
    runs = sum(p.numel() for p in encoder.module().parameters())
    assert runs == size["encoder"] + size["ar"]
    assert encoder.info.weights == hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    assert encoder.info.name == checkpoint.name and encoder.info.origin == ""
    assert encoder.info.trained and encoder.info.has_ar and encoder.info.alphabet == ()
    heads = TrOCRSpec(str(checkpoint)).heads()
    assert heads is not None and heads.has_ar and heads.alphabet == ()
    assert heads.ar_type == encoder.info.ar_type
    assert encoder.module().encoder.config._attn_implementation == "sdpa"
    assert encoder.module().decoder.config._attn_implementation == "eager"


@pytest.mark.parametrize("kind", KINDS)
def test_text_keeps_the_spaces_before_punctuation(kind: Kind, saved: Saved) -> None:
    ar = opened(saved[kind][0]).ar
    for text in TEXT[:3]:
        ids = ar.tokenize(text)
        assert ids[0] not in (0, 2) and ids[-1] != ar.eos_id
        assert ar.detokenize([*ids, ar.eos_id, ar.pad_id]) == text


def test_a_sentencepiece_model_as_trocr_small_has_it(checkpoint: Path) -> None:
    """The ids are SentencePiece's, moved by one as fairseq does."""
    spm = pytest.importorskip("sentencepiece", reason="the package sentencepiece is not installed")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (checkpoint / name).unlink()
    with (checkpoint / "sentencepiece.bpe.model").open("wb") as file:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXT), model_writer=file, vocab_size=60,
            hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    write_json(checkpoint / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    pieces = spm.SentencePieceProcessor(str(checkpoint / "sentencepiece.bpe.model"))
    tiny_model("base", pieces.get_piece_size() + 2).save_pretrained(checkpoint)  # <pad>, <mask>
    detokenize = opened(checkpoint).ar.detokenize
    for text in TEXT[:3]:
        ids = [piece + 1 for piece in pieces.encode(text)]
        assert detokenize([*ids, 2]) == text


def test_no_network_no_chatter_no_trace(
    saved: Saved,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[Any] = []  # in other threads too, whose exceptions nobody would see

    def refuse(*args: Any) -> None:
        attempts.append(args)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    for folder, _ in saved.values():
        opened(folder)
    assert capfd.readouterr() == ("", "")
    assert attempts == []
    after = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    assert after == before


def test_new_checkpoints_keep_their_image_processor_elsewhere(checkpoint: Path) -> None:
    old = checkpoint / "preprocessor_config.json"
    expected = opened(checkpoint).prepare(lines(3))
    write_json(
        checkpoint / "processor_config.json",
        {"image_processor": json.loads(old.read_text()), "processor_class": "TrOCRProcessor"},
    )
    old.unlink()
    assert torch.equal(opened(checkpoint).prepare(lines(3)), expected)


def test_what_it_was_trained_on(checkpoint: Path) -> None:
    found, card = hub.locate(str(checkpoint)), checkpoint / "README.md"
    for text, expected in (
        ("---\ndatasets:\n- iam\n- my/lines\n---\n# Mine", "iam, my/lines"),
        ("---\ndatasets: iam\n---\n", "iam"),
        ("---\ntags: [a\n---\n", ""),
        ("no front matter", ""),
    ):
        card.write_text(text)
        assert trained_on(found) == expected
    card.unlink()
    for name, part in (
        ("microsoft/trocr-small-handwritten", "IAM train (Aachen split)"),
        ("microsoft/trocr-large-printed", "SROIE"),
        ("microsoft/trocr-base-stage1", "684 M printed lines"),
    ):
        assert part in trained_on(replace(found, repo=name))
    assert trained_on(replace(found, repo="someone/trocr-small-handwritten")) == ""


def test_sinusoids_would_be_lost_without_the_repair() -> None:
    """The trap itself, so that the repair goes when transformers mends it."""
    with torch.device("meta"):
        model = tiny_model("small", 20)
    assert model.decoder.model.decoder.embed_positions.weights.is_meta


# ---- misfits: each is one sentence ----


def changed(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / file, change)


def stating(place: str, values: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Add values to a configuration, or to that of its decoder."""
    return lambda c: (c if place == CONFIG else c["decoder"]).update(values)


def overwritten(name: str, content: bytes | None = None) -> Callable[[Path], Any]:
    """Write a content, or cut the file off at half of its own."""

    def spoil(folder: Path) -> None:
        path = folder / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if content is None else content)

    return spoil


def pickled_half(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    overwritten("pytorch_model.bin")(folder)


def not_a_number(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["decoder.model.decoder.layers.0.fc1.bias"][3] = float("nan")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def two_processors(folder: Path) -> None:
    own = json.loads((folder / PROCESSOR).read_text())
    write_json(folder / "processor_config.json", {"image_processor": {**own, "image_std": [0.2]}})


def two_tokenizers(folder: Path) -> None:
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    first, second = list(vocabulary)[10:12]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    write_json(folder / "vocab.json", vocabulary)


def whole_numbers(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = "decoder.model.decoder.layers.0.fc1.weight"
    tensors[name] = (tensors[name] * 100).to(torch.int8)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def pickled_whole_numbers(folder: Path) -> None:
    whole_numbers(folder)
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (pickled_whole_numbers, "are quantised (decoder.model.decoder.layers.0.fc1.weight is"),
        (
            changed("vocab.json", lambda v: v.update(dict.fromkeys(list(v)[20:60], 7))),
            "same number",
        ),
        (changed("vocab.json", lambda v: v.update({list(v)[20]: 10**7})), "that its decoder lacks"),
        (two_tokenizers, "vocab.json and tokenizer.json"),
        (whole_numbers, "are quantised (decoder.model.decoder.layers.0.fc1.weight is I8)"),
        (lambda folder: (folder / "adapter_model.safetensors").touch(), "merge_and_unload()"),
        (changed(PROCESSOR, lambda c: c.update(do_resize=False)), "does not squeeze each line"),
        (
            changed(PROCESSOR, lambda c: c.update(image_processor_type="DonutImageProcessor")),
            "does not squeeze each line",
        ),
        (changed(PROCESSOR, lambda c: c.update(image_mean=[127.5] * 3)), "middle grey into -254"),
        (changed(PROCESSOR, lambda c: c.update(image_mean=0.5)), "the image processor of"),
        (changed(PROCESSOR, lambda c: c.update(resample="bicubic")), "the image processor of"),
        (not_a_number, "not finite in float32 (decoder.model.decoder.layers.0.fc1.bias)"),
        (two_processors, "disagree on image_std; remove the one"),
        (changed(PROCESSOR, lambda c: c.update(do_rescale=False)), "puts 510 between black and"),
        (changed(PROCESSOR, lambda c: c.update(image_std=[127.5] * 3)), "puts 0.00784 between"),
        (changed(PROCESSOR, lambda c: c.update(image_std=[0] * 3)), "puts inf between"),
        (
            lambda folder: write_json(folder / "adapter_config.json", {"peft_type": "LORA"}),
            "merge it with merge_and_unload()",
        ),
        (changed(CONFIG, lambda c: c["decoder"].update(decoder_layers=3)), "they lack decoder."),
        (changed(CONFIG, lambda c: c["decoder"].update(decoder_ffn_dim=40)), "another shape for"),
        (changed(CONFIG, lambda c: c["encoder"].update(hidden_size=48)), "has to be equal"),
        (changed(CONFIG, lambda c: c["encoder"].update(model_type="none")), "cannot be used"),
        (changed(CONFIG, lambda c: c.update(decoder=[1])), "does not say what its decoder is"),
        (overwritten(CONFIG), "is not JSON"),
        (overwritten(CONFIG, b'{"a":' * 100_000), "is not JSON"),
        (overwritten(WEIGHTS), "model (config.json, model.safetensors)"),
        (pickled_half, "model (config.json, pytorch_model.bin)"),
        (changed(PROCESSOR, lambda c: c.update(size=384)), "makes images of 384 x 384 px, but"),
        (
            changed(PROCESSOR, lambda c: c.update(image_processor_type="DeiTImageProcessor")),
            "crops",
        ),
        (changed(PROCESSOR, lambda c: c.pop("size")), "does not state its size"),
        (changed(PROCESSOR, lambda c: c.update(size=None)), "does not state its size"),
        (overwritten("vocab.json"), "the tokenizer"),
        (changed(TOKENIZER, lambda c: c.update(eos_token="<mask>")), "eos_token_id is 4 in one"),
        (changed(GENERATING, lambda c: c.update(eos_token_id=[2, 3])), "write one number below"),
        (changed(GENERATING, lambda c: c.update(eos_token_id=320)), "write one number below 320"),
        (changed(GENERATING, lambda c: c.update(max_length="64")), "write a whole number in its"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    spoil: Callable[[Path], None], message: str, checkpoint: Path
) -> None:
    spoil(checkpoint)
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        opened(checkpoint)
    sentence = str(raised.value)
    assert "\n" not in sentence and len(sentence) < 600
    assert "tiny-trocr" in sentence or "the checkpoint has" in sentence


def test_half_of_another_tokenizer_changes_nothing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "small", "small")
    detokenize = opened(tmp_path / "small").ar.detokenize
    (tmp_path / "small" / "merges.txt").write_text("#version: 0.2\n")
    tokens = [*range(5, 60)]
    assert opened(tmp_path / "small").ar.detokenize(tokens) == detokenize(tokens)


@pytest.mark.parametrize("tokens", [250, 330])
def test_a_tokenizer_of_another_size_is_refused(checkpoint: Path, tokens: int) -> None:
    vocabulary = json.loads((checkpoint / "vocab.json").read_text())
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    names += [f"more{n}" for n in range(tokens)]
    write_json(checkpoint / "vocab.json", {name: n for n, name in enumerate(names[:tokens])})
    (checkpoint / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(UserError, match=rf"has {tokens} tokens and its decoder 320; copy"):
        opened(checkpoint)


def test_weights_that_changed_in_the_cache_of_the_hub_are_refused(checkpoint: Path) -> None:
    weights = checkpoint / WEIGHTS
    content = weights.read_bytes()
    blob = checkpoint.parent / hashlib.sha256(content).hexdigest()
    weights.rename(blob)
    weights.symlink_to(blob)
    assert opened(checkpoint).info.weights == blob.name[:16]
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"were damaged on this disk; delete .* and run: "):
        opened(checkpoint)


class _Exploit:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.write_text, (self.mark, "executed")


def test_pickled_code_is_not_run(checkpoint: Path, tmp_path: Path) -> None:
    mark, pickled = tmp_path / "mark", checkpoint / "pytorch_model.bin"
    weights = load_file(checkpoint / WEIGHTS)
    (checkpoint / WEIGHTS).unlink()
    torch.save({**weights, "extra": _Exploit(mark)}, pickled)
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        opened(checkpoint)
    pickled.write_bytes(pickle.dumps(_Exploit(mark), protocol=2))
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        opened(checkpoint)
    assert not mark.exists()


def test_code_of_the_checkpoint_is_not_run(checkpoint: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (checkpoint / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    (checkpoint / "custom_generate").mkdir()
    (checkpoint / "custom_generate" / "generate.py").write_text(f"open({str(mark)!r}, 'w')")
    names = ("Config", "Model", "ModelForCausalLM", "Tokenizer", "ImageProcessor")
    code: dict[str, Any] = {f"Auto{name}": "evil.Evil" for name in names}
    edit(
        checkpoint / CONFIG,
        lambda c: [d.update(auto_map=code) for d in (c, c["encoder"], c["decoder"])],
    )
    edit(checkpoint / PROCESSOR, lambda c: c.update(auto_map=code))
    own = {"AutoTokenizer": ["evil.Evil", None]}
    edit(checkpoint / TOKENIZER, lambda c: c.update(auto_map=own))
    read(checkpoint)
    assert not mark.exists()


# ---- odd layouts: read as transformers reads them ----


def read(folder: Path) -> list[str]:
    """The greedy texts of a checkpoint."""
    encoder = opened(folder)
    encoded = encoder.encode(encoder.prepare(lines(6)))
    found = AutoregressiveSpec(beam=1, max_new_tokens=LIMIT).open(info()).decode(encoded)
    return [line.text for line in found]


def read_by_transformers(folder: Path) -> list[str]:
    encoder = opened(folder)
    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    pixels = encoder.prepare(lines(6))
    rows = model.generate(pixels, max_new_tokens=LIMIT, num_beams=1, use_cache=True)[:, 1:].tolist()
    eos = encoder.ar.eos_id
    return [encoder.ar.detokenize(r[: r.index(eos)] if eos in r else r) for r in rows]


@pytest.mark.parametrize("place", [GENERATING, CONFIG, "decoder"])
def test_special_tokens_are_looked_up_as_transformers_does(checkpoint: Path, place: str) -> None:
    # The tokenizer ends a line with another token than the decoder's own configuration says.
    edit(checkpoint / TOKENIZER, lambda c: c.update(eos_token="<mask>", pad_token="<unk>"))
    ids = {"eos_token_id": SPECIAL.index("<mask>"), "pad_token_id": SPECIAL.index("<unk>")}
    if place == GENERATING:
        edit(checkpoint / place, lambda c: c.update(ids))
    else:
        (checkpoint / GENERATING).unlink()
        edit(checkpoint / CONFIG, stating(place, ids))
        if place == "decoder":
            edit(checkpoint / CONFIG, lambda c: c.pop("pad_token_id"))
    ar = opened(checkpoint).ar
    assert (ar.eos_id, ar.pad_id, ar.start_id) == (*ids.values(), 2)
    assert len(set(read(checkpoint))) > 1 and read(checkpoint) == read_by_transformers(checkpoint)


def test_a_tokenizer_without_an_eos_follows_the_checkpoint(checkpoint: Path) -> None:
    """BERT's tokenizers have none: the tutorials set config.eos_token_id to [SEP]."""
    for name in ("vocab.json", "merges.txt"):
        (checkpoint / name).unlink()
    shutil.copytree(
        Path(__file__).parent / "fixtures" / "bert-tokenizer", checkpoint, dirs_exist_ok=True
    )
    edit(checkpoint / TOKENIZER, lambda c: c.pop("eos_token"))
    tokens = json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"]
    tiny_model("base", len(tokens), seed=5).save_pretrained(checkpoint)
    ids = {"decoder_start_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    edit(checkpoint / CONFIG, lambda c: c.update(ids))
    write_json(checkpoint / GENERATING, {**ids, "_from_model_config": True})
    ar = opened(checkpoint).ar
    assert (ar.start_id, ar.eos_id, ar.pad_id) == (tokens["[CLS]"], tokens["[SEP]"], 0)
    assert len(set(read(checkpoint))) > 1 and read(checkpoint) == read_by_transformers(checkpoint)


def sharded(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    places = {name: f"model-{n % 3}.safetensors" for n, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        own = {name: tensors[name] for name in tensors if places[name] == file}
        save_file(own, folder / file, metadata={"format": "pt"})
    write_json(folder / INDEX, {"metadata": {}, "weight_map": places})
    (folder / WEIGHTS).unlink()


def test_weights_in_several_files_are_read_by_their_index(checkpoint: Path) -> None:
    whole = opened(checkpoint)
    sharded(checkpoint)
    parts = opened(checkpoint)
    batch = whole.prepare(lines(3))
    assert torch.equal(whole.encode(batch).states, parts.encode(batch).states)
    assert parts.info.parameters == whole.info.parameters
    tensors = load_file(checkpoint / "model-1.safetensors")
    tensors[min(tensors)] += 1
    save_file(tensors, checkpoint / "model-1.safetensors", metadata={"format": "pt"})
    assert opened(checkpoint).info.weights != parts.info.weights  # the same index, other weights


def test_missing_parts_and_broken_indexes_are_named(checkpoint: Path) -> None:
    sharded(checkpoint)
    (checkpoint / "model-2.safetensors").unlink()
    with pytest.raises(Unavailable, match=r"model-2\.safetensors of"):
        hub.locate(str(checkpoint))
    broken: Any
    for broken in ({"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../b"}}):
        write_json(checkpoint / INDEX, broken)
        with pytest.raises(Unavailable, match="does not name the files of the weights"):
            hub.locate(str(checkpoint))


# ---- settings for generating text that a checkpoint states ----


SETTINGS = {
    "no_repeat_ngram_size": 3, "repetition_penalty": 1.2, "forced_bos_token_id": 5,
    "suppress_tokens": [7], "min_length": 4, "length_penalty": 2.0, "num_beams": 4,
    "max_length": 16, "do_sample": True,
}  # fmt: skip
NEUTRAL: dict[str, Any] = {
    "no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "forced_bos_token_id": None,
    "suppress_tokens": [], "min_length": 0, "length_penalty": 1.0, "num_beams": 1,
    "max_length": 20, "do_sample": False, "top_k": 50, "use_cache": False,
}  # fmt: skip


def test_generation_settings_are_known_wherever_they_are_stated(checkpoint: Path) -> None:
    def settings() -> dict[str, Any]:
        return generation_settings(checkpoint, TrOCRConfig(max_position_embeddings=64))

    before, generating = ((checkpoint / name).read_text() for name in (CONFIG, GENERATING))
    for place in (CONFIG, "decoder"):
        (checkpoint / CONFIG).write_text(before)
        edit(checkpoint / CONFIG, stating(place, SETTINGS))
        # transformers reads generation_config.json alone where it is there.
        (checkpoint / GENERATING).write_text(generating)
        assert settings() == {f"{name} of config.json": SETTINGS[name] for name in SETTINGS}
        (checkpoint / GENERATING).unlink()
        assert settings() == SETTINGS
    # A limit that the decoder has anyway is none.
    for limits, stated in (({"max_new_tokens": 64}, {}), ({"max_length": 64}, {"max_length": 64})):
        write_json(checkpoint / GENERATING, {**NEUTRAL, **limits})
        assert settings() == stated


def test_what_a_decoder_agrees_with_is_not_ignored() -> None:
    def ignored(spec: Any, settings: dict[str, Any] = SETTINGS) -> Any:
        return spec.ignored(EncoderInfo("x", "0", {}, (), True, generation=settings))

    assert ignored(AutoregressiveSpec()) == SETTINGS
    agreed = {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True}
    assert ignored(AutoregressiveSpec(beam=4, length_penalty=2.0), agreed) == {}
    assert ignored(AutoregressiveSpec(beam=4), agreed) == {"length_penalty": 2.0}
    assert ignored(AutoregressiveSpec(), {"max_length": 201, "max_new_tokens": 200}) == {}
    assert "max_length" not in ignored(DraftedSpec(max_new_tokens=15))
    unread = {"no_repeat_ngram_size": 3, "num_beams of config.json": 4}
    applied = AutoregressiveSpec(generation="checkpoint")
    assert ignored(applied, unread) == {"num_beams of config.json": 4}


@pytest.mark.parametrize("spec", [AutoregressiveSpec, GenerateSpec])
def test_settings_that_cannot_be_applied_are_refused_when_asked_for(spec: Any) -> None:
    def opened(settings: dict[str, Any], **options: Any) -> Any:
        stated = EncoderInfo("x", "0", {}, (), True, generation=settings)
        return spec(generation="checkpoint", **options).open(stated)

    searching = {"num_beams": 4, "length_penalty": 2.0, "max_length": 16, "early_stopping": False}
    with pytest.raises(UserError) as raised:
        opened({**searching, "min_length": 4})
    assert (
        "x states num_beams 4 and max_length 16 and length_penalty 2.0 and early_stopping False; "
        "for its own settings give the options beam=4 and max_new_tokens=15 and "
        "length_penalty=2.0 and early_stopping=False too"
    ) in str(raised.value)
    options = {"beam": 4, "length_penalty": 2.0, "early_stopping": False, "max_new_tokens": 15}
    applied = opened({**searching, "min_length": 4, "max_new_tokens": 300}, **options)
    assert applied.extras() == {"generation_applied": {"min_length": 4}}
    assert opened({"length_penalty": 2.0}, beam=1).extras() == {}
    for stated, sentence in (
        ({"do_sample": True}, "states do_sample True, which is not applied here"),
        ({"bad_words_ids": [[3]]}, "states bad_words_ids"),
        ({"repetition_penalty": -1.0}, "cannot be applied .*repetition_penalty"),
        ({"suppress_tokens": [-1]}, "cannot be applied .*suppress_tokens"),
        ({"forced_bos_token_id": "a"}, "cannot be applied"),
    ):
        with pytest.raises(UserError, match=sentence) as raised:
            opened(stated)
        assert "\n" not in str(raised.value)


def test_a_run_names_the_settings_once_and_keeps_them(checkpoint: Path, call, tmp_path) -> None:
    edit(checkpoint / GENERATING, lambda c: c.update(no_repeat_ngram_size=3))
    out = tmp_path / "run"
    code, shown, err = call(
        "run", "--encoder", str(checkpoint), "--decoder", "ar-greedy,ar-beam", "--dataset", "lines",
        "--limit", "2", "-o", "ar-greedy.max_new_tokens=5", "-o", "ar-beam.max_new_tokens=5",
        "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    (note,) = [line for line in shown.splitlines() if line.startswith("note: ")]
    assert "ar-beam" in note and "ar-greedy" in note and "no_repeat_ngram_size 3" in note
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [r["extras"]["generation_ignored"] for r in rows] == [{"no_repeat_ngram_size": 3}] * 2


@pytest.fixture(scope="module")
def seen(saved: Saved) -> tuple[Any, Any]:
    """A model, and four lines as its checkpoint encodes them."""
    folder, model = saved["base"]
    encoder = opened(folder)
    return model, encoder.encode(encoder.prepare(lines(4)))


@pytest.mark.filterwarnings("ignore:Unfeasible length constraints")
@settings(max_examples=25, deadline=None)
@given(
    stated=st.fixed_dictionaries(
        {},
        optional={
            "no_repeat_ngram_size": st.integers(1, 4),
            "repetition_penalty": st.sampled_from([0.7, 1.3, 2]),
            "min_length": st.integers(1, LIMIT),
            "min_new_tokens": st.integers(1, LIMIT),
            "forced_bos_token_id": st.integers(3, 20),
            "forced_eos_token_id": st.just(2),
            "suppress_tokens": st.lists(st.integers(3, 319), min_size=1, max_size=99),
            "begin_suppress_tokens": st.lists(st.integers(2, 319), min_size=1, max_size=200),
        },
    ),
    beam=st.integers(1, 5),
    limit=st.integers(2, LIMIT),
    spec=st.sampled_from([AutoregressiveSpec, GenerateSpec]),
)
def test_a_checkpoints_settings_give_the_tokens_of_its_own_generate(
    stated: dict[str, Any], beam: int, limit: int, spec: Any, seen: tuple[Any, Any]
) -> None:
    if stated.get("forced_bos_token_id") in stated.get("suppress_tokens", ()):
        return  # nothing is left to write
    if limit == 2 and stated.get("forced_eos_token_id") in stated.get("begin_suppress_tokens", ()):
        return  # the same, after a forced first token
    model, encoded = seen
    choices = {"early_stopping": True, "length_penalty": 1.0} if beam > 1 else {}
    changes = {**stated, "repetition_penalty": float(stated.get("repetition_penalty", 1))}
    with torch.inference_mode():
        rows = model.generate(
            encoder_outputs=BaseModelOutput(encoded.states),
            generation_config=GenerationConfig(
                **changes, **choices, num_beams=beam, max_new_tokens=limit, use_cache=True,
                decoder_start_token_id=2, eos_token_id=2, pad_token_id=1,
            ),
        )[:, 1:].tolist()  # fmt: skip
    facts = replace(info(), generation=stated)
    decoder = spec(generation="checkpoint", beam=beam, max_new_tokens=limit).open(facts)
    kept = [row[: row.index(2) + 1] if 2 in row else row for row in rows]
    found = decoder.decode(encoded)
    assert [line.tokens for line in found] == [len(row) for row in kept]
    assert [line.text for line in found] == [encoded.ar.detokenize(row) for row in kept]
    if not stated:
        return
    assert decoder.extras()["generation_applied"] == stated
    assert decoder.score(encoded, [["a"]] * 4) is None
