"""Causal language models that score whole lines: the embedded one, or any of transformers'."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.hub import plain_hub_errors
from decoders.language.arpa_lm import EMBEDDED
from decoders.language.char_lm import WEIGHTS, CharLM, read_char_lm

_BATCH = 16  # texts that a model of transformers reads at once
_ANY = "*.safetensors"


@dataclass(frozen=True, eq=False)
class LineLM:
    """A model that scores lines.

    name: what weights are tuned for: `EMBEDDED`, or a name of the user's own model.
    sha256: of its weights, or what stands for them.
    trained_on: the text behind it, as a row says it.
    score: natural-log probability of each text, on a device.
    """

    name: str
    sha256: str
    trained_on: str
    score: Callable[[Sequence[str], str], list[float]]


def line_lm(model: str = "") -> LineLM:
    """Load a model.

    Args:
        model: Hub id or folder of a causal language model for transformers, a file of
            `python -m bench train lm`, or "" for the embedded one.

    Raises:
        UserError: it is not there, cannot be read, or is no causal language model.
    """
    path = Path(model).expanduser() if model else WEIGHTS
    if not model or path.suffix == ".safetensors":
        if not path.is_file():
            raise UserError(
                f"the weights {path} are not there; python -m bench train lm makes some"
            )
        lm = read_char_lm(path)
        name = path.name if model else EMBEDDED
        trained_on = lm.notes.get("trained_on", "unknown text")
        return LineLM(name, content_hash(path, 64), trained_on, _moving(lm))
    return _of_transformers(model, path)


def _moving(lm: CharLM) -> Callable[[Sequence[str], str], list[float]]:
    def score(texts: Sequence[str], device: str) -> list[float]:
        lm.net.to(device)
        return lm.score(texts)

    return score


def _of_transformers(model: str, path: Path) -> LineLM:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if ("/" not in model or model.startswith((".", "~", "/"))) and not path.is_dir():
        raise UserError(f"{path} is no folder of a language model; give a folder, or owner/name")
    place = str(path) if path.is_dir() else model
    try:
        with nullcontext() if path.is_dir() else plain_hub_errors(model, "main"):
            tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            net: Any = AutoModelForCausalLM.from_pretrained(
                place, dtype=torch.float32, trust_remote_code=False
            )
    except Exception as error:  # foreign files can make transformers raise anything
        if "trust_remote_code" in f"{error} {error.__cause__}":
            raise UserError(
                f"{model} needs code of its own, which Kaidoku never runs; choose a model whose "
                "architecture transformers has"
            ) from error
        if isinstance(error, UserError):
            raise
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{model} is no causal language model of transformers ({words})") from error
    net.eval().requires_grad_(False)
    revision = getattr(net.config, "_commit_hash", None)
    digest = _folder_hash(path) if path.is_dir() else str(revision or "")
    scorer = Tokens(net, tokenizer)
    return LineLM(model.rstrip("/"), digest, f"unknown text ({path.name})", scorer.score)


def _folder_hash(folder: Path) -> str:
    """Of all weights files of a folder, in the order of their names."""
    files = sorted(folder.glob(_ANY)) or sorted(folder.glob("*.bin"))
    return hashlib.sha256("".join(content_hash(file, 64) for file in files).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Tokens:
    """A model of sub-words: the log-probability of a text is the sum of its tokens'."""

    net: Any
    tokenizer: Any

    def score(self, texts: Sequence[str], device: str) -> list[float]:
        """Natural-log probability of each text, behind the mark of a beginning if there is one."""
        self.net.to(device)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = dict.fromkeys(range(len(texts)), 0.0)
        for begin in range(0, len(order), _BATCH):
            chosen = order[begin : begin + _BATCH]
            found.update(zip(chosen, self._read([texts[i] for i in chosen]), strict=True))
        return [found[i] for i in range(len(texts))]

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> list[float]:
        ids = [self._ids(text) for text in texts]
        longest = max(map(len, ids))
        tokens = torch.zeros(len(ids), longest, dtype=torch.long)
        mask = torch.zeros(len(ids), longest, dtype=torch.long)
        for row, (one, seen) in enumerate(zip(ids, mask, strict=True)):
            tokens[row, : len(one)] = torch.tensor(one, dtype=torch.long)
            seen[: len(one)] = 1
        if longest < 2:
            return [0.0] * len(ids)
        device = self.net.device
        logits = self.net(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
        log_probs = logits[:, :-1].float().log_softmax(-1).cpu()
        scores = log_probs.gather(2, tokens[:, 1:, None]).squeeze(2)
        return [float(x) for x in (scores.double() * mask[:, 1:]).sum(1)]

    def _ids(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        begin = self.tokenizer.bos_token_id
        if begin is None:
            begin = self.tokenizer.eos_token_id  # what models without the one have in its place
        return ids if begin is None else [begin, *ids]
