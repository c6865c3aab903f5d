"""Checkpoints that do not fit, or that would do harm: one sentence, and nothing is run."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.core.errors import UserError
from decoders.ar.beam import AutoregressiveSpec
from tests.ctc_doubles import info
from tests.tiny_trocr import edit, lines, opened, save_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the base kind to spoil."""
    save_checkpoint(tmp_path / "tiny-trocr", "base")
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
