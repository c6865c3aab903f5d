"""A small causal transformer over characters: the embedded neural language model.

The network is transformers' GPT-NeoX (rotary positions, so that a window may begin anywhere).
A line of handwriting begins and ends at some word of a paragraph, and the model reads it so:
behind a space, up to a space or the end of a paragraph, and nothing known of what stood before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.records import dump, load

ARCHITECTURE = "kaidoku-char-lm-1"
WEIGHTS = Path(__file__).parents[2] / "models" / "weights" / "lm.safetensors"
UNKNOWN, PARAGRAPH, SPACE = range(3)
# Printable ASCII; everything else is the unknown character.
SYMBOLS = ("\0", "\n", " ", *map(chr, range(ord("!"), ord("~") + 1)))
_INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_BODY = "gpt_neox."  # what else there is, the output projection, is the embedding once more
_BATCH = 64  # windows that are read at once


@dataclass(frozen=True)
class CharConfig:
    """Sizes of the network. context: characters that it sees at once, the first one included."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    context: int = 128


@dataclass(frozen=True, eq=False)
class CharLM:
    """A trained network; see `read_char_lm`.

    notes: what its file says of its training ("trained_on", "steps", ...).
    """

    net: Any
    config: CharConfig
    notes: dict[str, str]

    def score(self, texts: Sequence[str]) -> list[float]:
        """Natural-log probability of each text as a line: its characters, and that a word ends."""
        return [float(scores.sum()) for scores in char_scores(self.net, self.config, texts)]


def new_net(config: CharConfig, dropout: float = 0.0) -> Any:
    """An untrained network on the CPU; dropout behind each layer's parts and of the attention."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=len(SYMBOLS),
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
            max_position_embeddings=config.context,
            hidden_dropout=dropout,
            attention_dropout=dropout / 2,
            tie_word_embeddings=True,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def encode(text: str) -> list[int]:
    """Indices of the characters of a text."""
    return [_INDEX.get(character, UNKNOWN) for character in text]


def char_scores(
    net: nn.Module, config: CharConfig, texts: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Natural-log probability of every character of each line, and of the end of its last word.

    Args:
        net: of `new_net`; its mode (`eval`) is the caller's.
        config: of the net.
        texts: any number, of any length.

    Returns:
        For each text (len(text) + 1,).
    """
    return _scores(net, config, [[SPACE, *encode(text), SPACE] for text in texts], _ends_word)


def paragraph_scores(
    net: nn.Module, config: CharConfig, paragraphs: Sequence[str]
) -> list[NDArray[np.float64]]:
    """The same of whole paragraphs: each behind the end of another one, up to its own end.

    What is predicted is what an n-gram model predicts between `<s>` and `</s>`.
    """
    read = [[PARAGRAPH, *encode(text), PARAGRAPH] for text in paragraphs]
    return _scores(net, config, read, lambda log_probs: log_probs[:, PARAGRAPH])


def save_notes(config: CharConfig, notes: dict[str, str]) -> dict[str, str]:
    """The metadata of a weights file."""
    return {"architecture": ARCHITECTURE, "config": dump(config).decode(), **notes}


def stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that a file holds."""
    return {n[len(_BODY) :]: value for n, value in state.items() if n.startswith(_BODY)}


def read_char_lm(path: Path) -> CharLM:
    """Load a weights file that `python -m bench train lm` wrote.

    Raises:
        UserError: the file is missing or damaged, or of another program.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            notes = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as weights ({error}); give another file") from error
    if notes.get("architecture") != ARCHITECTURE:
        raise UserError(
            f"{path} is no language model of this program; make one with python -m bench train lm"
        )
    text = notes.get("config", "").encode()
    config = load(CharConfig, text, f"the notes of {path}", "fetch the file anew")
    try:
        net = new_net(config)
        net.base_model.load_state_dict(tensors)
    except (ArithmeticError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the weights of {path} do not fit what it says of itself; fetch the file anew"
        ) from error
    return CharLM(net.eval().requires_grad_(False), config, notes)


def _ends_word(log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (N, symbols): a word ends where a space or the end of the paragraph follows."""
    return np.logaddexp(log_probs[:, SPACE], log_probs[:, PARAGRAPH])


@dataclass(frozen=True)
class _Window:
    """Characters read at once. skip: of its predictions, those that the window before made."""

    text: int
    tokens: list[int]
    skip: int


def _scores(
    net: nn.Module,
    config: CharConfig,
    sequences: Sequence[list[int]],
    last: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> list[NDArray[np.float64]]:
    """Log-probability of all tokens but the first; `last` says what the last one's is."""
    parts: list[list[NDArray[np.float64]]] = [[] for _ in sequences]
    windows = [w for i, tokens in enumerate(sequences) for w in _windows(i, tokens, config)]
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].tokens))
    read: dict[int, NDArray[np.float64]] = {}
    for begin in range(0, len(order), _BATCH):
        chosen = order[begin : begin + _BATCH]
        read.update(zip(chosen, _read(net, [windows[i].tokens for i in chosen]), strict=True))
    for i, window in enumerate(windows):
        log_probs = read[i]
        targets = np.array(window.tokens[1:])
        scores = log_probs[np.arange(len(targets)), targets]
        if i + 1 == len(windows) or windows[i + 1].text != window.text:
            scores[-1:] = last(log_probs[-1:])
        parts[window.text].append(scores[window.skip :])
    return [np.concatenate(part) for part in parts]


def _windows(text: int, tokens: list[int], config: CharConfig) -> list[_Window]:
    """Windows of at most `context` inputs; from the second on, half of one is known context."""
    size, step = config.context + 1, config.context // 2
    windows = [_Window(text, tokens[:size], 0)]
    read = size
    while read < len(tokens):
        start = min(read + step, len(tokens)) - size
        windows.append(_Window(text, tokens[start : start + size], read - start - 1))
        read = start + size
    return windows


@torch.inference_mode()
def _read(net: nn.Module, batch: Sequence[list[int]]) -> list[NDArray[np.float64]]:
    """Log-probabilities of what follows each token but the last: (len - 1, symbols) each."""
    longest = max(map(len, batch)) - 1
    device = next(net.parameters()).device
    tokens = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, sequence in zip(tokens, batch, strict=True):
        row[: len(sequence) - 1] = torch.tensor(sequence[:-1])
    # Padding stands behind, where a causal model does not look: it needs no mask.
    logits = net(input_ids=tokens.to(device), use_cache=False).logits.float()
    log_probs = logits.log_softmax(-1).cpu().numpy().astype(np.float64)
    return [rows[: len(s) - 1] for rows, s in zip(log_probs, batch, strict=True)]


def bits(scores: Sequence[NDArray[np.float64]]) -> float:
    """Mean bits a character, from natural logarithms."""
    return float(-np.concatenate(list(scores)).mean() / math.log(2))
