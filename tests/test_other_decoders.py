"""Checkpoints with other parts than TrOCR's: read as their own `generate` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    DeiTConfig,
    GPT2Config,
    RobertaConfig,
    SwinConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from bench.core.errors import UserError
from bench.core.types import EncoderInfo
from bench.training.trocr import open_start
from decoders import DECODERS
from decoders.ar.hf import GenerateSpec
from tests.tiny_trocr import IMAGE, PREPROCESSOR, TEXT, edit, lines, opened, write_json

LIMIT = 25
BERT = Path(__file__).parent / "fixtures" / "bert-tokenizer" / "tokenizer.json"
_VIT = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "image_size": IMAGE, "patch_size": 8, "initializer_range": 0.3,
}  # fmt: skip
ENCODERS = {
    "vit": ViTConfig(**_VIT),
    "deit": DeiTConfig(**_VIT),
    "swin": SwinConfig(
        image_size=IMAGE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2],
        window_size=4, initializer_range=0.3,
    ),
}  # fmt: skip


def save(folder: Path, encoder: str, decoder: str) -> Any:
    """Write a checkpoint with random weights and its tokenizer, and return the model."""
    folder.mkdir(parents=True)
    width = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 32, "max_position_embeddings": 40,
             "initializer_range": 0.5}  # fmt: skip
    if decoder == "bert":
        tokens = [f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")]
        tokens += list("abcdefghij")
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
        config: Any = BertConfig(vocab_size=len(tokens), **width)
        ids = {"decoder_start_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        if decoder == "gpt2":
            special = ["<|endoftext|>"]
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(TEXT, vocab_size=280, special_tokens=special, show_progress=False)
        bpe.save_model(str(folder))
        named = {"roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer"}[decoder]
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": named})
        size = bpe.get_vocab_size()
        if decoder == "gpt2":
            config = GPT2Config(
                vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=40,
                initializer_range=0.5, tie_word_embeddings=False,
                bos_token_id=0, eos_token_id=0,
            )  # fmt: skip
            ids = {"decoder_start_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        else:
            config = RobertaConfig(
                vocab_size=size, bos_token_id=0, pad_token_id=1, eos_token_id=2, **width
            )
            ids = {"decoder_start_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    both = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ENCODERS[encoder], config)
    for name, token in ids.items():
        setattr(both, name, token)
    torch.manual_seed(3)
    model = VisionEncoderDecoderModel(config=both).eval()
    model.generation_config.update(**ids)
    model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR["base"])
    return model


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [("vit", "gpt2"), ("deit", "bert"), ("swin", "roberta"), ("swin", "gpt2"), ("vit", "bert")],
)
def test_it_reads_what_its_own_generate_reads(
    encoder: str, decoder: str, beam: int, tmp_path: Path
) -> None:
    model, folder = save(tmp_path / "mine", encoder, decoder), tmp_path / "mine"
    reader = opened(folder)
    assert reader.info.ar_type == decoder and reader.info.has_ar
    batch = reader.prepare(lines(5))
    choices = {"early_stopping": True} if beam > 1 else {}
    with torch.inference_mode():
        rows = model.generate(
            batch, num_beams=beam, max_new_tokens=LIMIT, use_cache=True, **choices
        )[:, 1:].tolist()
    encoded = reader.encode(batch)
    ar = encoded.ar
    rows = [row[: row.index(ar.eos_id) + 1] if ar.eos_id in row else row for row in rows]
    found = GenerateSpec(beam=beam, max_new_tokens=LIMIT).open(reader.info).decode(encoded)
    assert [line.text for line in found] == [ar.detokenize(row) for row in rows]
    assert [line.tokens for line in found] == [len(row) for row in rows]
    assert max(map(len, rows)) > 1
    assert ar.detokenize([*ar.tokenize("a b"), ar.eos_id]) == "a b"


def test_positions_of_roberta_begin_behind_its_padding(tmp_path: Path) -> None:
    """A line as long as the decoder allows does not run out of positions."""
    save(tmp_path / "mine", "vit", "roberta")
    edit(tmp_path / "mine" / "generation_config.json", lambda c: c.update(min_length=90))
    reader = opened(tmp_path / "mine")
    encoded = reader.encode(reader.prepare(lines(2)))
    assert encoded.ar.max_new_tokens == 38
    decoder = GenerateSpec(beam=2, generation="checkpoint").open(reader.info)
    assert [line.tokens for line in decoder.decode(encoded)] == [38, 38]
    assert decoder.score(encoded, [["a"]] * 2) is None


def test_it_is_not_trained_here(tmp_path: Path) -> None:
    save(tmp_path / "mine", "vit", "bert")
    with pytest.raises(UserError, match="a bert model, which cannot be trained here"):
        open_start(str(tmp_path / "mine"), 0, "cpu")


@pytest.mark.parametrize("name", ["ar-beam", "ar-greedy", "ar-draft", "ctc-rescore"])
def test_our_own_searches_say_that_they_do_not_compute_it(name: str) -> None:
    info = EncoderInfo("mine", "0", {}, ("", "a"), True, ar_type="gpt2")
    absent = DECODERS.create(name).missing(info)
    assert absent is not None and "is a gpt2 model" in absent.reason and "ar-hf" in absent.remedy
    assert DECODERS.create("ar-hf").missing(info) is None


def test_a_run_reads_it_by_generate_and_names_the_others(tmp_path: Path, call: Any) -> None:
    save(tmp_path / "mine", "swin", "gpt2")
    code, shown, err = call(
        "run", "--encoder", str(tmp_path / "mine"), "--decoder", "ar-hf,ar-greedy", "--dataset",
        "lines", "--limit", "2", "--out", str(tmp_path / "run"), "-o", "ar-hf.max_new_tokens=5",
    )  # fmt: skip
    assert code == 0, err
    (row,) = [json.loads(x) for x in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert row["decoder"] == "ar-hf" and row["status"] == "ok"
    assert "mine is a gpt2 model, which this search does not compute" in shown
    assert "choose ar-hf" in shown


def test_masks_that_old_checkpoints_of_gpt2_hold_are_no_weights(tmp_path: Path) -> None:
    save(tmp_path / "mine", "vit", "gpt2")
    weights = tmp_path / "mine" / "model.safetensors"
    names = ("attn.bias", "attn.masked_bias", "crossattention.bias", "crossattention.masked_bias")
    masks = {f"decoder.transformer.h.0.{name}": torch.ones(1) for name in names}
    save_file({**load_file(weights), **masks}, weights, metadata={"format": "pt"})
    opened(tmp_path / "mine")


def test_a_decoder_that_does_not_see_the_image_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "mine", "vit", "gpt2")
    config = tmp_path / "mine" / "config.json"
    weights = tmp_path / "mine" / "model.safetensors"
    tensors = load_file(weights)
    unseen = {k: v for k, v in tensors.items() if "cross" not in k}
    save_file(unseen, weights, metadata={"format": "pt"})
    edit(config, lambda c: c["decoder"].update(add_cross_attention=False))
    with pytest.raises(UserError, match="no attention to the image"):
        opened(tmp_path / "mine")
    edit(config, lambda c: c["decoder"].update(model_type="vit"))
    with pytest.raises(UserError, match="cannot be used") as raised:
        opened(tmp_path / "mine")
    assert "\n" not in str(raised.value)
