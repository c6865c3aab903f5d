"""TrOCR checkpoints: the loaded one reads as the one that was saved; what does not fit is told."""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file
from transformers.utils import logging as transformers_logging

from bench.core.errors import UserError
from bench.core.types import Runtime
from decoders.ar.beam import AutoregressiveSpec
from models import ENCODERS
from tests.ctc_doubles import info
from tests.tiny_trocr import (
    IMAGE,
    PREPROCESSOR,
    TEXT,
    Kind,
    lines,
    opened,
    save_checkpoint,
    tiny_model,
    write_json,
)

KINDS: tuple[Kind, ...] = get_args(Kind)
LIMIT = 30


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Kind, bool], tuple[Path, Any]]:
    """(kind, whether pickled) to the folder of a checkpoint and the model that was saved."""
    root = tmp_path_factory.mktemp("checkpoints")
    found = {}
    for kind in KINDS:
        for pickled in (False, True):
            folder = root / f"{kind}-{'bin' if pickled else 'safetensors'}"
            found[kind, pickled] = folder, save_checkpoint(folder, kind, seed=5, pickled=pickled)
    return found


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the base kind to spoil."""
    save_checkpoint(tmp_path / "tiny-trocr", "base")
    return tmp_path / "tiny-trocr"


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_as_the_model_that_was_saved(
    kind: Kind, pickled: bool, saved: dict[tuple[Kind, bool], tuple[Path, Any]]
) -> None:
    """States and tokens, against a model that never went through a file."""
    folder, model = saved[kind, pickled]
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
            batch,
            num_beams=beam,
            max_new_tokens=LIMIT,
            decoder_start_token_id=2,
            eos_token_id=2,
            pad_token_id=1,
            use_cache=True,
            **({"early_stopping": True} if beam > 1 else {}),
        )
        assert sequences.shape[1] > 22, "lines longer than the 20 tokens of generate's default"
        found = AutoregressiveSpec(beam=beam, max_new_tokens=LIMIT).open(info()).decode(encoded)
        assert encoded.ar is not None
        assert [d.text for d in found] == [encoded.ar.detokenize(s[1:].tolist()) for s in sequences]


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_squeezed_and_scaled_as_the_checkpoint_says(
    kind: Kind, saved: dict[tuple[Kind, bool], tuple[Path, Any]]
) -> None:
    images = lines(6)
    pixels = opened(saved[kind, False][0]).prepare(images)
    assert pixels.dtype == torch.float32 and pixels.shape == (6, 3, IMAGE, IMAGE)
    resample = Picture.Resampling(PREPROCESSOR[kind]["resample"])
    for image, found in zip(images, pixels, strict=True):
        small = Picture.fromarray(image).resize((IMAGE, IMAGE), resample)
        expected = torch.from_numpy(np.asarray(small) / 255.0 * 2 - 1).float()
        for channel in found:
            torch.testing.assert_close(channel, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_says_of_it(
    kind: Kind, saved: dict[tuple[Kind, bool], tuple[Path, Any]], tmp_path: Path
) -> None:
    folder, _ = saved[kind, False]
    encoder = opened(folder)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    size = {
        part: sum(t.numel() for n, t in tensors.items() if n.startswith(f"{part}."))
        for part in ("encoder", "decoder", "encoder.pooler")
    }
    assert encoder.info.parameters == {
        "encoder": size["encoder"] - size["encoder.pooler"],
        "pooler": size["encoder.pooler"],
        "ar": size["decoder"],
    }
    assert encoder.info.weights == hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    assert encoder.info.name == folder.name
    assert encoder.info.trained and encoder.info.has_ar and encoder.info.alphabet == ()
    assert encoder.info.trained_on == ""
    assert encoder.encode(encoder.prepare(lines(1))).ar.start_id == 2
    runs = sum(p.numel() for p in encoder.module().parameters())
    assert runs == sum(encoder.info.parameters.values()) - size["encoder.pooler"]
    assert encoder.info.origin == ""
    assert encoder.module().encoder.config._attn_implementation == "sdpa"
    assert encoder.module().decoder.config._attn_implementation == "eager"
    other = tmp_path / "other"
    save_checkpoint(other, kind, seed=6)
    assert opened(other).info.weights != encoder.info.weights


@pytest.mark.parametrize("kind", KINDS)
def test_text_keeps_the_spaces_before_punctuation(
    kind: Kind, saved: dict[tuple[Kind, bool], tuple[Path, Any]]
) -> None:
    folder, _ = saved[kind, False]
    ar = opened(folder).ar
    tokenizer = ar.detokenize.func.__self__
    for text in TEXT[:3]:
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == 0 and ids[-1] == ar.eos_id
        assert ar.detokenize(ids[1:]) == text
        assert ar.detokenize([*ids[1:], ar.pad_id]) == text


def test_a_sentencepiece_model_as_trocr_small_has_it(checkpoint: Path) -> None:
    """The ids are SentencePiece's, moved by one as fairseq does."""
    spm = pytest.importorskip("sentencepiece", reason="the package sentencepiece is not installed")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (checkpoint / name).unlink()
    with (checkpoint / "sentencepiece.bpe.model").open("wb") as file:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXT),
            model_writer=file,
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    write_json(checkpoint / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    pieces = spm.SentencePieceProcessor(str(checkpoint / "sentencepiece.bpe.model"))
    tiny_model("base", pieces.get_piece_size() + 2).save_pretrained(checkpoint)  # <pad>, <mask>
    detokenize = opened(checkpoint).ar.detokenize
    for text in TEXT[:3]:
        ids = [piece + 1 for piece in pieces.encode(text)]
        assert detokenize([*ids, 2]) == text


def test_no_network_no_chatter_no_trace(
    saved: dict[tuple[Kind, bool], tuple[Path, Any]],
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
    card = checkpoint / "README.md"
    for text, expected in (
        ("---\ndatasets:\n- iam\n- my/lines\n---\n# Mine", "iam, my/lines"),
        ("---\ndatasets: iam\n---\n", "iam"),
        ("---\ntags: [a\n---\n", ""),
        ("no front matter", ""),
    ):
        card.write_text(text)
        assert opened(checkpoint).info.trained_on == expected
    card.unlink()
    assert opened(checkpoint).info.trained_on == ""


def test_what_the_authors_checkpoints_were_trained_on(checkpoint: Path) -> None:
    from models import hub
    from models.trocr_files import trained_on

    found = hub.locate(str(checkpoint))
    for name, part in (
        ("microsoft/trocr-small-handwritten", "IAM train (Aachen split)"),
        ("microsoft/trocr-large-printed", "SROIE"),
        ("microsoft/trocr-base-stage1", "684 M printed lines"),
    ):
        assert part in trained_on(replace(found, repo=name))
    assert trained_on(replace(found, repo="someone/trocr-small-handwritten")) == ""


def test_the_registered_ones_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for size in ("small", "base", "large"):
        missing = ENCODERS.create(f"trocr-{size}").missing()
        assert missing.remedy == f"python -m bench weights get trocr-{size}"
    with pytest.raises(UserError, match="bench weights get trocr-base"):
        ENCODERS.create("trocr-base").open(Runtime())


def test_sinusoids_would_be_lost_without_the_repair() -> None:
    """The trap itself, so that the repair goes when transformers mends it."""
    with torch.device("meta"):
        model = tiny_model("small", 20)
    assert model.decoder.model.decoder.embed_positions.weights.is_meta
