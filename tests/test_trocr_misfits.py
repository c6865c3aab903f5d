"""Checkpoints of odd layouts are read as transformers reads them; misfits are one sentence."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VisionEncoderDecoderModel

from bench.core.errors import Unavailable, UserError
from bench.core.files import content_hash
from bench.core.types import EncoderInfo
from decoders.ar.beam import AutoregressiveSpec
from decoders.ar.draft import DraftedSpec
from models import hub
from tests.ctc_doubles import info
from tests.tiny_trocr import SPECIAL, edit, lines, opened, save_checkpoint, tiny_model, write_json


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the base kind to spoil."""
    save_checkpoint(tmp_path / "tiny-trocr", "base", seed=5)
    return tmp_path / "tiny-trocr"


def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", change)


def processor(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(
        folder / "preprocessor_config.json", lambda content: content.update(changes)
    )


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: edit(
        folder / "preprocessor_config.json", lambda content: content.pop(name)
    )


def shorten(name: str, keep: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return spoil


def foreign_weights(folder: Path) -> None:
    save_file({"a.weight": torch.zeros(3)}, folder / "model.safetensors")


def pickled_half(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    shorten("pytorch_model.bin", 0.5)(folder)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (config(lambda c: c["decoder"].update(decoder_layers=3)), "they lack decoder.model"),
        (config(lambda c: c["decoder"].update(decoder_layers=1)), "unlike config.json, decoder."),
        (config(lambda c: c["decoder"].update(decoder_ffn_dim=40)), "another shape for decoder."),
        (config(lambda c: c["encoder"].update(hidden_size=48)), "has to be equal"),
        (config(lambda c: c["decoder"].update(decoder_attention_heads=5)), "cannot be used"),
        (config(lambda c: c["encoder"].update(model_type="no-such-thing")), "cannot be used"),
        (config(lambda c: c["decoder"].update(model_type="gpt2")), "is a gpt2 model"),
        (config(lambda c: c.update(model_type="vit")), "says model_type vit"),
        (config(lambda c: c.clear()), "says model_type None"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not a JSON object"),
        (shorten("model.safetensors", 0.9), "model (config.json, model.safetensors)"),
        (shorten("model.safetensors", 0.0), "model (config.json, model.safetensors)"),
        (pickled_half, "model (config.json, pytorch_model.bin)"),
        (foreign_weights, "do not fit its config.json: they lack"),
        (processor(size=384), "makes images of 384 x 384 px, but its encoder reads 32 x 32 px"),
        (processor(do_center_crop=True, image_processor_type="DeiTImageProcessor"), "crops"),
        (processor(image_processor_type="DeiTImageProcessor"), "crops"),
        (processor(image_processor_type="NoSuchProcessor"), "the image processor"),
        (without("size"), "does not state its size"),
        (without("image_mean"), "does not state its image_mean"),
        (lambda folder: (folder / "vocab.json").write_text("{"), "the tokenizer"),
        (
            lambda folder: edit(
                folder / "tokenizer_config.json", lambda c: c.update(eos_token="<mask>")
            ),
            "eos_token_id is 4 in one and 2 in the other",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    spoil: Callable[[Path], None], told: str, checkpoint: Path
) -> None:
    spoil(checkpoint)
    with pytest.raises(UserError, match=re.escape(told)) as raised:
        opened(checkpoint)
    sentence = str(raised.value)
    assert "\n" not in sentence and len(sentence) < 600
    assert "tiny-trocr" in sentence


def test_weights_that_changed_in_the_cache_of_the_hub_are_refused(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
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
    mark = tmp_path / "mark"
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save({**weights, "extra": _Exploit(mark)}, checkpoint / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        opened(checkpoint)
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(_Exploit(mark), protocol=2))
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        opened(checkpoint)
    assert not mark.exists()


def test_code_of_the_checkpoint_is_not_run(checkpoint: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (checkpoint / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    (checkpoint / "custom_generate").mkdir()
    (checkpoint / "custom_generate" / "generate.py").write_text(f"open({str(mark)!r}, 'w')")
    everything = (
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoTokenizer",
        "AutoImageProcessor",
    )
    code: dict[str, Any] = dict.fromkeys(everything, "evil.Evil")
    edit(checkpoint / "config.json", lambda c: [d.update(auto_map=code) for d in (c, *nested(c))])
    edit(checkpoint / "preprocessor_config.json", lambda c: c.update(auto_map=code))
    tokenizer = {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    edit(checkpoint / "tokenizer_config.json", lambda c: c.update(tokenizer))
    encoder = opened(checkpoint)
    AutoregressiveSpec(max_new_tokens=3).open(info()).decode(
        encoder.encode(encoder.prepare(lines(1)))
    )
    assert not mark.exists()


def nested(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return content["encoder"], content["decoder"]


INDEX = "model.safetensors.index.json"
INFO = EncoderInfo("x", "0", {}, (), True)


def read(folder: Path) -> tuple[list[str], list[str]]:
    """Our reading of a folder, and that of `generate` of its model."""
    encoder = opened(folder)
    pixels = encoder.prepare(lines(6))
    encoded = encoder.encode(pixels)
    found = AutoregressiveSpec(beam=1, max_new_tokens=30).open(info()).decode(encoded)
    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    sequences = model.generate(pixels, max_new_tokens=30, num_beams=1, use_cache=True)
    return [d.text for d in found], [
        encoder.ar.detokenize(_until(s[1:].tolist(), encoder.ar.eos_id)) for s in sequences
    ]


def _until(tokens: list[int], eos: int) -> list[int]:
    return tokens[: tokens.index(eos)] if eos in tokens else tokens


def moved(folder: Path) -> None:
    """Let the tokenizer end a line with another token than the decoder's configuration says."""
    path = folder / "tokenizer_config.json"
    edit(path, lambda c: c.update(eos_token="<mask>", pad_token="<unk>"))


MASK, UNK = SPECIAL.index("<mask>"), SPECIAL.index("<unk>")


@pytest.mark.parametrize("place", ["generation_config.json", "config.json", "decoder"])
def test_special_tokens_are_looked_up_as_transformers_does(checkpoint: Path, place: str) -> None:
    moved(checkpoint)
    ids = {"eos_token_id": MASK, "pad_token_id": UNK}
    if place == "generation_config.json":
        edit(checkpoint / place, lambda c: c.update(ids))
    else:
        (checkpoint / "generation_config.json").unlink()
        config = checkpoint / "config.json"
        edit(config, lambda c: (c if place == "config.json" else c["decoder"]).update(ids))
        if place == "decoder":
            edit(config, lambda c: c.pop("pad_token_id"))
    ar = opened(checkpoint).ar
    assert (ar.eos_id, ar.pad_id, ar.start_id) == (MASK, UNK, 2)
    ours, theirs = read(checkpoint)
    assert ours == theirs and len(set(ours)) > 1


def test_a_tokenizer_without_an_eos_follows_the_checkpoint(checkpoint: Path) -> None:
    """BERT's tokenizers have none: the tutorials set config.eos_token_id to [SEP]."""
    for name in ("vocab.json", "merges.txt"):
        (checkpoint / name).unlink()
    source = Path(__file__).parent / "fixtures" / "bert-tokenizer"
    for path in source.iterdir():
        shutil.copy(path, checkpoint)
    edit(checkpoint / "tokenizer_config.json", lambda c: c.pop("eos_token"))
    tokens = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    save_bert(checkpoint, len(tokens))
    ar = opened(checkpoint).ar
    assert (ar.start_id, ar.eos_id, ar.pad_id) == (tokens["[CLS]"], tokens["[SEP]"], 0)
    ours, theirs = read(checkpoint)
    assert ours == theirs and len(set(ours)) > 1


def save_bert(folder: Path, tokens: int) -> None:
    tiny_model("base", tokens, seed=5).save_pretrained(folder)
    ids = {"decoder_start_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    edit(folder / "config.json", lambda c: c.update(ids))
    write_json(folder / "generation_config.json", {**ids, "_from_model_config": True})


@pytest.mark.parametrize("name", ["eos_token_id", "decoder_start_token_id"])
@pytest.mark.parametrize("value", [[2, 3], "two", 2.0, -1, 320])
def test_ids_that_are_not_one_token_are_refused(checkpoint: Path, name: str, value: Any) -> None:
    edit(checkpoint / "generation_config.json", lambda c: c.update({name: value}))
    with pytest.raises(UserError, match=f"has {name} .*; write one number below 320 there"):
        opened(checkpoint)


@pytest.mark.parametrize("content", ['{"a":' * 100_000, '{"decoder": [1]}'])
def test_configurations_of_another_shape_are_refused(checkpoint: Path, content: str) -> None:
    edited = json.loads((checkpoint / "config.json").read_text())
    nested = content if "[" not in content else json.dumps(edited | json.loads(content))
    (checkpoint / "config.json").write_text(nested)
    with pytest.raises(UserError, match=r"is not JSON|only trocr decoders"):
        opened(checkpoint)


@pytest.mark.parametrize("tokens", [60, 250, 330, 5000])
def test_a_tokenizer_of_another_size_is_refused(checkpoint: Path, tokens: int) -> None:
    vocabulary = json.loads((checkpoint / "vocab.json").read_text())
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    names += [f"more{n}" for n in range(tokens)]
    write_json(checkpoint / "vocab.json", {name: n for n, name in enumerate(names[:tokens])})
    (checkpoint / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(UserError, match=rf"has {tokens} tokens and its decoder 320; copy"):
        opened(checkpoint)


def test_a_vocabulary_that_is_rounded_up_is_none_of_another_size(tmp_path: Path) -> None:
    folder = tmp_path / "padded"
    save_checkpoint(folder, "base")
    tiny_model("base", 323).save_pretrained(folder)
    assert opened(folder).info.has_ar


def sharded(folder: Path, parts: int = 3) -> None:
    tensors = load_file(folder / "model.safetensors")
    places = {name: f"model-{n % parts}.safetensors" for n, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        own = {name: tensors[name] for name in tensors if places[name] == file}
        save_file(own, folder / file, metadata={"format": "pt"})
    write_json(folder / INDEX, {"metadata": {}, "weight_map": places})
    (folder / "model.safetensors").unlink()


def test_weights_in_several_files_are_read_by_their_index(checkpoint: Path) -> None:
    whole = opened(checkpoint)
    sharded(checkpoint)
    parts = opened(checkpoint)
    batch = whole.prepare(lines(3))
    assert torch.equal(whole.encode(batch).states, parts.encode(batch).states)
    assert parts.info.parameters == whole.info.parameters
    assert parts.info.weights not in ("", content_hash(checkpoint / INDEX))
    before = parts.info.weights
    tensors = load_file(checkpoint / "model-1.safetensors")
    first = min(tensors)
    tensors[first] = tensors[first] + 1
    save_file(tensors, checkpoint / "model-1.safetensors", metadata={"format": "pt"})
    assert opened(checkpoint).info.weights != before  # the same index, other weights
    assert hub.locate(str(checkpoint)).size > 100_000


def test_pickled_weights_in_several_files(checkpoint: Path) -> None:
    batch = (whole := opened(checkpoint)).prepare(lines(3))
    tensors = load_file(checkpoint / "model.safetensors")
    places = {name: f"pytorch_model-{n % 2}.bin" for n, name in enumerate(tensors)}
    for file in set(places.values()):
        torch.save({n: t for n, t in tensors.items() if places[n] == file}, checkpoint / file)
    write_json(checkpoint / "pytorch_model.bin.index.json", {"metadata": {}, "weight_map": places})
    (checkpoint / "model.safetensors").unlink()
    parts = opened(checkpoint)
    assert torch.equal(whole.encode(batch).states, parts.encode(batch).states)


def test_missing_parts_and_broken_indexes_are_named(checkpoint: Path) -> None:
    sharded(checkpoint)
    for name in ("model-0.safetensors", "model-2.safetensors"):
        (checkpoint / name).unlink()
    with pytest.raises(Unavailable, match=r"model-0\.safetensors and model-2\.safetensors of"):
        hub.locate(str(checkpoint))
    maps: list[Any] = [{}, {"weight_map": {}}, {"weight_map": {"a": 3}}]
    for broken in (*maps, {"weight_map": {"a": "../b"}}):
        write_json(checkpoint / INDEX, broken)
        with pytest.raises(Unavailable, match="does not name the files of the weights"):
            hub.locate(str(checkpoint))
    for broken in ("{", "[" * 100_000):
        (checkpoint / INDEX).write_text(broken)
        assert "is not JSON" in str(hub.missing(str(checkpoint)))


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


@pytest.mark.parametrize("place", ["generation_config.json", "config.json", "decoder"])
def test_generation_settings_are_known_wherever_they_are_stated(
    checkpoint: Path, place: str
) -> None:
    def change(content: dict[str, Any]) -> None:
        (content["decoder"] if place == "decoder" else content).update(SETTINGS)

    edit(checkpoint / ("config.json" if place == "decoder" else place), change)
    assert opened(checkpoint).info.generation == SETTINGS
    edit(checkpoint / "generation_config.json", lambda c: c.update(NEUTRAL))  # which comes first
    assert opened(checkpoint).info.generation == {}


def test_what_a_decoder_agrees_with_is_not_ignored() -> None:
    def ignored(settings: dict[str, Any], **options: Any) -> Any:
        return AutoregressiveSpec(**options).ignored(replace(INFO, generation=settings))

    assert ignored(SETTINGS) == SETTINGS
    agreed = {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True}
    assert ignored(agreed, beam=4, length_penalty=2.0) == {}
    assert ignored(agreed, beam=4) == {"length_penalty": 2.0}
    assert ignored({"max_length": 201, "max_new_tokens": 200}) == {}
    assert ignored({"max_length": 200}) == {"max_length": 200}
    assert ignored({}) == {}
    drafted = DraftedSpec(max_new_tokens=15).ignored(replace(INFO, generation=SETTINGS))
    assert drafted == {name: value for name, value in SETTINGS.items() if name != "max_length"}


def test_a_limit_that_the_decoder_has_anyway_is_no_setting(checkpoint: Path) -> None:
    for limits, stated in (
        ({"max_new_tokens": 64}, {}), ({"max_new_tokens": 63}, {"max_new_tokens": 63}),
        ({"max_length": 65}, {}), ({"max_length": 64}, {"max_length": 64}),
    ):  # fmt: skip
        write_json(checkpoint / "generation_config.json", limits)
        assert opened(checkpoint).info.generation == stated


def test_a_run_names_the_settings_once_and_keeps_them(checkpoint: Path, call, tmp_path) -> None:
    edit(checkpoint / "generation_config.json", lambda c: c.update(no_repeat_ngram_size=3))
    out = tmp_path / "run"
    code, shown, err = call(
        "run", "--encoder", str(checkpoint), "--decoder", "ar-greedy,ar-beam", "--dataset", "lines",
        "--limit", "2", "-o", "ar-greedy.max_new_tokens=5", "-o", "ar-beam.max_new_tokens=5",
        "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    notes = [line for line in shown.splitlines() if line.startswith("note: ")]
    (note,) = notes
    assert "ar-beam" in note and "ar-greedy" in note and "no_repeat_ngram_size 3" in note
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [r["extras"]["generation_ignored"] for r in rows] == [{"no_repeat_ngram_size": 3}] * 2
    table = " ".join((out / "report.md").read_text().split())
    assert "generation settings of its checkpoint not applied: no_repeat_ngram_size 3" in table
