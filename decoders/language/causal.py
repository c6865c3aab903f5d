"""Causal language models that score whole lines: a small one over characters, or transformers'.

The small network is GPT-NeoX of transformers (rotary positions, so that a window may begin
anywhere). A line of handwriting begins and ends at some word of a paragraph, so it is scored after
a space, up to a space or the end of a paragraph, without the text before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.hub import MAIN, cached_snapshot, get_command, plain_hub_errors
from bench.core.named import file_of_model, named, title_of
from bench.core.records import dump, load
from bench.core.tensors import read_tensors
from decoders.language.lm import EMBEDDED

ARCHITECTURE = "kaidoku-char-lm-1"
WEIGHTS = Path(__file__).parents[2] / "models" / "weights" / "lm.safetensors"
UNKNOWN, PARAGRAPH, SPACE = range(3)
# Printable ASCII; everything else is the unknown character.
SYMBOLS = ("\0", "\n", " ", *map(chr, range(ord("!"), ord("~") + 1)))
_INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_BODY = "gpt_neox."  # the output projection, the only other part, equals the embedding
_WINDOWS = 64  # of characters in a batch
_TEXTS = 16  # in a batch of a model of transformers
_KINDS = {
    "AutoModelForCausalLM": "causal language model",
    "AutoModelForSeq2SeqLM": "sequence-to-sequence model with safetensors weights",
}

Item = TypeVar("Item", bound=Sized)
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class LineLM:
    """A model that scores lines.

    name: for which weights are tuned: `EMBEDDED`, or a name of the user's own model.
    sha256: of its weights, or the commit of the Hub's.
    trained_on: the text behind it, as a row has it.
    score: natural-log probability of each text, on a device.
    chars: the network, where it is one over characters.
    """

    name: str
    sha256: str
    trained_on: str
    score: Callable[[Sequence[str], str], list[float]]
    chars: TrainedCharLM | None = None


def line_lm(model: str = "") -> LineLM:
    """Load a model.

    It is the Hub id or folder of a causal language model for transformers, a file of `python -m
    bench train lm`, or its name in the project file; "" for the embedded one.

    Raises:
        UserError: it is not there, cannot be read, or is no causal language model.
    """
    path = file_of_model(model) if model else WEIGHTS
    if model and path.suffix != ".safetensors":
        loaded = from_transformers(model, "AutoModelForCausalLM")
        score = Tokens(loaded.net, loaded.tokenizer).score
        return LineLM(loaded.name, loaded.sha256, loaded.trained_on, score)
    if not path.is_file():
        raise UserError(f"the weights {path} are missing; make them with python -m bench train lm")
    lm = read_char_lm(path)
    trained_on = lm.notes.get("trained_on", "unknown text")
    name = title_of(path) if model else EMBEDDED
    return LineLM(name, content_hash(path, 64), trained_on, lm.score, lm)


@dataclass(frozen=True)
class CharConfig:
    """Sizes of the network. context: characters that it sees at once, the first one included."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    context: int = 128


@dataclass(frozen=True, eq=False)
class TrainedCharLM:
    """A trained network; see `read_char_lm`.

    notes: of its file, on its training ("trained_on", "steps", ...).
    """

    net: Any
    config: CharConfig
    notes: dict[str, str]

    def score(self, texts: Sequence[str], device: str = "cpu") -> list[float]:
        """Natural-log probability of each text as a line, including the end of its last word."""
        self.net.to(device)
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

    The net's mode (`eval`) is the caller's. Returns (len(text) + 1,) for each text.
    """
    return _scores(net, config, [[SPACE, *encode(text), SPACE] for text in texts], _ends_word)


class PrefixScorer:
    """Scores of every next character after prefixes of lines, each prefix read once.

    A prefix is a shorter one and one more character. The keys and values of each are kept, so that
    a longer one costs one step of the network; a line begins behind a space, as in `char_scores`.
    Of a prefix longer than the network's context only the last characters are read.
    """

    def __init__(self, lm: TrainedCharLM, device: torch.device) -> None:
        self._net, self._context = lm.net.to(device), lm.config.context
        self._paths = _Paths(lm.config, device)
        self._before = np.empty(0, np.int64)
        self._length = np.empty(0, np.int64)  # without the space

    @torch.inference_mode()
    def extend(
        self, before: NDArray[np.int64], characters: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Extend N prefixes by one character each.

        Args:
            before: (N,) numbers of the prefixes that are extended; -1 for the beginning of a line,
                whose only character is the space before it.
            characters: (N,) indices into `SYMBOLS`.

        Returns:
            Their numbers (N,), and natural-log probabilities (N, symbols) of what follows.
        """
        numbers = len(self._before) + np.arange(len(before))
        length = np.zeros(len(before), np.int64)
        longer = before >= 0
        length[longer] = self._length[before[longer]] + 1
        self._before = np.append(self._before, before)
        self._length = np.append(self._length, length)
        path = np.empty((len(before), min(int(length.max()) + 1, self._context)), np.int64)
        step = numbers
        for place in range(path.shape[1] - 1, -1, -1):
            path[:, place] = step
            step = np.where(step < 0, -1, self._before[step])
        device = self._paths.device
        self._paths.follow(path)
        logits = self._net(
            input_ids=torch.from_numpy(characters)[:, None].to(device),
            position_ids=torch.from_numpy(length)[:, None].to(device),
            attention_mask=torch.from_numpy(path >= 0)[:, None, None].to(device),
            past_key_values=self._paths,
            use_cache=False,
        ).logits[:, -1]
        log_probs: NDArray[np.float32] = logits.float().log_softmax(-1).cpu().numpy()
        return numbers, log_probs


class _Paths:
    """Keys and values of all prefixes, in the place of a cache of transformers."""

    def __init__(self, config: CharConfig, device: torch.device) -> None:
        size = (0, config.heads, config.width // config.heads)
        self._kept = [[torch.empty(size, device=device)] * 2 for _ in range(config.layers)]
        self.device = device

    def follow(self, path: NDArray[np.int64]) -> None:
        """Attend from now on to these prefixes (N, L), the new ones last; -1 is masked."""
        self._new = torch.from_numpy(path[:, -1]).to(self.device)
        self._path = torch.from_numpy(np.maximum(path, 0)).to(self.device)
        self._size = int(path.max()) + 1

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any) -> tuple[Tensor, ...]:
        """Keep those of the new characters, (N, heads, 1, size); returns those of their paths."""
        kept = self._kept[layer]
        for place, new in enumerate((keys, values)):
            if self._size > len(kept[place]):
                room = new.new_zeros(2 * self._size, *kept[place].shape[1:])
                room[: len(kept[place])] = kept[place]
                kept[place] = room
            kept[place][self._new] = new[:, :, 0]
        keys, values = (part[self._path].transpose(1, 2) for part in kept)
        return keys, values


def paragraph_scores(
    net: nn.Module, config: CharConfig, paragraphs: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Score whole paragraphs alike, each after the end of another one, up to its own end.

    These are the predictions of an n-gram model between `<s>` and `</s>`.
    """
    read = [[PARAGRAPH, *encode(text), PARAGRAPH] for text in paragraphs]
    return _scores(net, config, read, lambda log_probs: log_probs[:, PARAGRAPH])


def bits(scores: Sequence[NDArray[np.float64]]) -> float:
    """Mean bits a character, from natural logarithms."""
    return float(-np.concatenate(list(scores)).mean() / math.log(2))


def save_notes(config: CharConfig, notes: dict[str, str]) -> dict[str, str]:
    """The metadata of a weights file."""
    return {"architecture": ARCHITECTURE, "config": dump(config).decode(), **notes}


def stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights to store in a file."""
    return {n[len(_BODY) :]: value for n, value in state.items() if n.startswith(_BODY)}


def read_char_lm(path: Path) -> TrainedCharLM:
    """Load a weights file that `python -m bench train lm` wrote.

    Raises:
        UserError: the file is missing or damaged, or of another program.
    """
    tensors, notes = read_tensors(path)
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
            f"the weights of {path} do not fit its own notes; fetch the file anew"
        ) from error
    return TrainedCharLM(net.eval().requires_grad_(False), config, notes)


def _ends_word(log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probability (N,) that a word ends: a space or the end of the paragraph follows."""
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
    """Log-probability of all tokens but the first; `last` gives that of the last one."""
    parts: list[list[NDArray[np.float64]]] = [[] for _ in sequences]
    windows = [w for i, tokens in enumerate(sequences) for w in _windows(i, tokens, config)]
    tokens = [window.tokens for window in windows]
    read = _by_length(tokens, _WINDOWS, lambda batch: _read(net, batch))
    for i, (window, log_probs) in enumerate(zip(windows, read, strict=True)):
        targets = np.array(window.tokens[1:])
        scores = log_probs[np.arange(len(targets)), targets]
        if i + 1 == len(windows) or windows[i + 1].text != window.text:
            scores[-1:] = last(log_probs[-1:])
        parts[window.text].append(scores[window.skip :])
    return [np.concatenate(part) for part in parts]


def _by_length(
    items: Sequence[Item], size: int, read: Callable[[list[Item]], list[Result]]
) -> list[Result]:
    """Read items in batches of like length, so that little is padded; results in their order."""
    order = sorted(range(len(items)), key=lambda i: len(items[i]))
    results: dict[int, Result] = {}
    for begin in range(0, len(order), size):
        chosen = order[begin : begin + size]
        results.update(zip(chosen, read([items[i] for i in chosen]), strict=True))
    return [results[i] for i in range(len(items))]


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
    """Log-probabilities of the next token behind each but the last: (len - 1, symbols) each."""
    device = next(net.parameters()).device
    # Padding stands behind, which a causal model does not read: it needs no mask.
    tokens = pad_sequence([torch.tensor(tokens[:-1]) for tokens in batch], batch_first=True)
    logits = net(input_ids=tokens.to(device), use_cache=False).logits.float()
    log_probs = logits.log_softmax(-1).cpu().numpy().astype(np.float64)
    return [rows[: len(s) - 1] for rows, s in zip(log_probs, batch, strict=True)]


@dataclass(frozen=True, eq=False)
class FromTransformers:
    """A network of transformers with its tokenizer.

    name: the folder, the Hub id, or the name in the project file.
    sha256: of its weights, or the commit of the Hub's.
    """

    name: str
    net: Any
    tokenizer: Any
    sha256: str
    trained_on: str


def from_transformers(model: str, kind: str, **options: Any) -> FromTransformers:
    """Load a model of transformers, by Hub id, folder or name, without running code of its own.

    `kind` is the class of transformers that opens it, with these options.

    Raises:
        UserError: it is not there, cannot be read, or is of another kind.
    """
    import transformers

    source, path = named().models.get(model, model), file_of_model(model)
    if ("/" not in source or source.startswith((".", "~", "/"))) and not path.is_dir():
        raise UserError(f"{path} is no folder of a language model; give a folder, or owner/name")
    place = str(path) if path.is_dir() else source
    words = _KINDS[kind]
    try:
        with nullcontext() if path.is_dir() else plain_hub_errors(source, MAIN):
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                place, trust_remote_code=False
            )
            net: Any = getattr(transformers, kind).from_pretrained(
                place, dtype=torch.float32, trust_remote_code=False, **options
            )
    except Exception as error:  # untrusted files can make transformers raise anything
        if "trust_remote_code" in f"{error} {error.__cause__}":
            raise UserError(
                f"{source} needs code of its own, which Kaidoku never runs; choose a model whose "
                "architecture transformers has"
            ) from error
        if isinstance(error, UserError):
            raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{source} is no {words} of transformers ({why})") from error
    net.eval().requires_grad_(False)
    if not (folder := path).is_dir():
        folder = cached_snapshot(source, MAIN, get_command(source), Path.is_dir)
    own = model if model in named().models else source.rstrip("/")
    text = f"unknown text ({title_of(path)})"
    return FromTransformers(own, net, tokenizer, _folder_hash(folder), text)


def _folder_hash(folder: Path) -> str:
    """Hash of all weights files of a folder, in the order of their names."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    return hashlib.sha256("".join(content_hash(file, 64) for file in files).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Tokens:
    """A model of sub-words: the log-probability of a text is the sum of its tokens'."""

    net: Any
    tokenizer: Any

    def score(self, texts: Sequence[str], device: str) -> list[float]:
        """Natural-log probability of each text, behind the mark of a beginning if there is one."""
        self.net.to(device)
        return _by_length(texts, _TEXTS, self._read)

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> list[float]:
        ids = [torch.tensor(self._ids(text), dtype=torch.long) for text in texts]
        tokens = pad_sequence(ids, batch_first=True)
        mask = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
        if tokens.shape[1] < 2:
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
            begin = self.tokenizer.eos_token_id  # the mark of models that have no BOS
        return ids if begin is None else [begin, *ids]
