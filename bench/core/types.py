"""Types of the data flow; array shapes are documented here and only here.

Shape letters: B lines of a batch, S encoder steps, D width of a state, T frames,
V symbols of the CTC alphabet (blank included), H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Image = NDArray[np.uint8]
Needs = Literal["states", "log_probs", "both"]

UNREAD = " of config.json"  # suffix of settings there that transformers does not read
TROCR = "trocr"  # the model type of decoders that our own searches compute
UNTRAINED = "untrained"  # in place of the hash of weights that were never trained
BLANK = 0  # index of the CTC blank in every alphabet of this project


@dataclass(frozen=True, eq=False)
class Line:
    """One line of handwriting with its reference.

    image: (H, W) uint8, dark ink on light paper.
    boxes: (len(text), 2) float32, left and right column of each character in pixels,
        in the order of `text` (spaces too); None when the source does not know them.
    box_source: where the boxes come from ("renderer", "strokes", ...); "" without boxes.
    writer: the hand; "" when the source does not say.
    page: the page, form or letter that the line stands on; "" when the source does not say.
    block: what statistics resample and splits keep together; the writer where none is named. A
        set of one hand names its letters.
    tags: labels of its document for its kind ("handwritten", "Heading").
    """

    id: str
    image: Image
    text: str
    writer: str
    split: str
    boxes: NDArray[np.float32] | None = None
    box_source: str = ""
    page: str = ""
    block: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", self.block or self.writer)


@dataclass(frozen=True)
class BadLine:
    """A line of a set that could not be used, with the reason in one sentence."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class LineSet:
    """The lines of one split, with facts for tables.

    sha256: hash over ids, texts, blocks and pixels of `lines`, in order.
    references: how the reference was written ("ascii", "page-xml", ...).
    notes: remarks on the split, such as a list that is shorter than the published one.
    """

    name: str
    split: str
    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]
    sha256: str
    source: str
    licence: str
    references: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ARModel:
    """An autoregressive head that reads encoder states, as transformers' TrOCR decoder does.

    decoder: a `TrOCRForCausalLM`-like causal decoder (input_ids, encoder_hidden_states,
        encoder_attention_mask, past_key_values).
    project: takes states (B, S, D) and their mask (B, S) to those that the decoder attends to,
        or None.
    detokenize: token ids, special ones included, to text.
    tokenize: text to token ids, special ones left out; None for weights without a vocabulary.
    whole: the `VisionEncoderDecoderModel` of a decoder that is not TrOCR's; else None.
    forced_lengths: (B,) int64, for untrained weights: tokens (EOS included) that each line of the
        batch emits, unless the decoder's limit ends it before; else None.
    """

    decoder: Any
    project: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None
    detokenize: Callable[[list[int]], str]
    start_id: int
    eos_id: int
    pad_id: int
    max_new_tokens: int
    forced_lengths: torch.Tensor | None = None
    tokenize: Callable[[str], list[int]] | None = None
    whole: Any | None = None

    def memory(self, states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States (B, N, D') that the decoder attends to, in its precision, and their mask."""
        states = states.to(self.decoder.dtype)
        return (states, mask) if self.project is None else self.project(states, mask)


class Lost(NamedTuple):
    """Neighbouring characters of a line that a damage hid. Only an oracle knows them.

    begin, end: the stretch that they stood on, as shares of the line's width.
    characters: between the visible characters with ink on both sides, spaces included.
    """

    begin: float
    end: float
    characters: int


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoder's output for a batch: all that a decoder may read.

    states: (B, S, D) float, the encoder's output.
    state_mask: (B, S) bool, True where a state belongs to the line and not to padding.
    log_probs: (B, T, V) float32 natural-log CTC posteriors, or None without a CTC head.
    frames: (B,) int64, valid frames of each line; None without a CTC head.
    alphabet: the V symbols of the CTC head, "" (the blank) first; () without a CTC head.
    ar: the encoder's own autoregressive head, or None.
    lost: hidden characters of each line, in order, for a decoder that is an oracle; else None.
    """

    states: torch.Tensor
    state_mask: torch.Tensor
    log_probs: torch.Tensor | None = None
    frames: torch.Tensor | None = None
    alphabet: tuple[str, ...] = ()
    ar: ARModel | None = None
    lost: tuple[tuple[Lost, ...], ...] | None = None


@dataclass(frozen=True)
class Decoded:
    """A decoder's output for one line.

    tokens: generated units of the best hypothesis; AR: up to and including EOS, without the
        start token (the count of TrOCR's speed table); CTC: emitted symbols.
    score: the decoder's own score of the best hypothesis (natural log, higher is better).
    nbest: (text, score) best first, when the decoder keeps alternatives.
    truncated: the token limit ended the line, not EOS.
    uncorrected: text before correction; None without a corrector.
    verdict: rule by which a corrector left the line unchanged; "" otherwise.
    """

    text: str
    tokens: int
    score: float | None = None
    nbest: tuple[tuple[str, float], ...] = ()
    truncated: bool = False
    uncorrected: str | None = None
    verdict: str = ""


@dataclass(frozen=True)
class EncoderInfo:
    """The facts of an encoder that a row holds.

    weights: short content hash of the weights, or "untrained" (then no CER is ever shown).
    ar_type: the decoder's model type in transformers.
    ar_weights: that of an AR head that can change without the rest, "" without one; no CTC decoder
        depends on it.
    parameters: parameter count by part ("encoder", "ctc", "ar", ...). A part that no decoder
        reads ("pooler") is counted too, as published counts do.
    alphabet: the symbols of the CTC head, blank first; () without one.
    origin: source of the weights ("owner/name@commit").
    generation: the checkpoint's settings for text generation that change the text, by their names
        in transformers; one that transformers does not read where it stands ends in `UNREAD`.
    notes: parts that another checkpoint lent it, in words.
    """

    name: str
    weights: str
    parameters: Mapping[str, int]
    alphabet: tuple[str, ...]
    has_ar: bool
    trained_on: str = ""
    origin: str = ""
    generation: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ar_weights: str = ""
    ar_type: str = TROCR

    @property
    def trained(self) -> bool:
        """Whether the weights may have a CER."""
        return self.weights != UNTRAINED

    def weights_for(self, needs: Needs) -> str:
        """Hash of the weights that a decoder depends on."""
        ar = "" if needs == "log_probs" else self.ar_weights
        return f"{self.weights}+{ar}" if ar else self.weights


@dataclass(frozen=True)
class Condition:
    """The lines of a set, perhaps limited, under one damage. Severity 0 is the clean set."""

    dataset: str
    split: str = "test"
    damage: str = "none"
    severity: int = 0
    seed: int = 0
    limit: int | None = None

    @property
    def damaged(self) -> str:
        """Its damage with the severity: "blot 3"; "" of the clean set."""
        return f"{self.damage} {self.severity}" if self.severity else ""


@dataclass(frozen=True)
class Runtime:
    """The device and settings of a run. threads is torch's intra-op thread count."""

    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = 32
    threads: int = 1


class Edited:
    """Anything with character edits by kind."""

    substitutions: int
    deletions: int
    insertions: int

    @property
    def edits(self) -> int:
        """All character edits."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class EditCounts(Edited):
    """Sums over the lines of a cell; every rate of a row follows from these.

    Characters are code points after the versioned normaliser of `bench.core.metrics`.
    """

    lines: Annotated[int, msgspec.Meta(ge=1)]
    characters: int
    substitutions: int
    deletions: int
    insertions: int
    words: int
    word_edits: int
    empty: int  # lines read as nothing although the reference is not empty
    over_half: int  # lines with CER over 50 %
    truncated: int
    looping: int
    tokens: int
    output_characters: int


@dataclass(frozen=True)
class Spread:
    """A measured quantity over repetitions: median with its range, and how many there were."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Timing:
    """Seconds of a cell, one median pass over the set; `lines_per_s` counts encoder + decoder.

    With a corrector, all figures of decoder and encoder + decoder include it.

    host_s: preparing images on the host; encode_s: the encoder, shared by all decoders of the
    condition; decode_s: the decoder with its detokenisation; correct_s: the corrector, None without
    one.
    latency_p50_s, latency_p95_s: percentiles over batches of (encode + decode) / lines of batch.
    batches: (lines, seconds of encode + decode) of each batch from narrow to wide, its median over
        the rounds, to compare the speeds of two systems.
    """

    host_s: float
    encode_s: float
    decode_s: Spread
    cpu_s: float
    lines_per_s: Spread
    decode_lines_per_s: Spread
    latency_p50_s: float
    latency_p95_s: float
    peak_mib: float
    scenario: Literal["single", "batch"]
    batches: tuple[tuple[int, float], ...]
    correct_s: Spread | None = None

    def __post_init__(self) -> None:
        if not (self.lines_per_s.median > 0 and self.decode_lines_per_s.median > 0):
            raise ValueError("a speed is not above 0")


class Spent(TypedDict, total=False):
    """The cost of new answers of a corrector behind an endpoint, warm-up included."""

    requests: float
    tokens: float
    seconds: float
    retries: float
    cached: float


class Correction(Spent):
    """Lines before and after a corrector; see `bench.pipeline.cells.corrected`."""

    improved: int
    same: int
    worse: int
    changed: int
    refused: Mapping[str, int]
    edits_before: int
    cer_before: float | None
    wer_before: float | None


class Leaks(TypedDict):
    """Test lines seen in training; see `bench.pipeline.leaks.check.leaks_of_row`."""

    train: Mapping[str, int] | None
    lm: Mapping[str, float | None] | None


@dataclass(frozen=True)
class Row:
    """A cell's result with its conditions; one JSON object a line of `rows.jsonl`.

    key: hash of everything that can change the outcome; a finished key is never run again.
    cell: hash of the parts with their options, the condition and the runtime. Where code, weights
        or data change, a cell gets another key.
    parameters: of the encoder and of the head that the decoder reads, by part.
    version: of this program.
    normaliser: of texts before their edits are counted; suite: of the damage, "" for a clean set.
    cer, wer, cer_macro, cer_median: fractions, None for untrained weights and failures.
    encoder_options, decoder_options, dataset_options, damage_options: as the user set them; rows of
        earlier versions have no `decoder_options`.
    extras: facts of the decoder (LM order and hash, where weights were tuned, ...).
    correction: None without a corrector.
    leak: None for a failure.
    lines_sha256: of the file of line results; "" for a failure and in rows of earlier versions.
    """

    key: str
    cell: str
    status: Literal["ok", "failed"]
    encoder: str
    weights: str
    parameters: Mapping[str, int]
    decoder: str
    options: Mapping[str, Any]
    condition: Condition
    dataset_sha256: str
    references: str
    runtime: Runtime
    version: str
    normaliser: str
    suite: str
    signature: str
    environment: str  # hash of the environment record in env.json
    started: str  # ISO 8601, UTC
    reason: str = ""
    unreadable: int = 0
    foreign: int = 0  # reference characters outside the alphabet of the decoder
    ink_lost: float | None = None  # mean share of ink removed or covered, where defined
    counts: EditCounts | None = None
    timing: Timing | None = None
    cer: float | None = None
    wer: float | None = None
    cer_macro: float | None = None
    cer_median: float | None = None
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    damage_options: Mapping[str, Any] = field(default_factory=dict)
    decoder_options: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    leak: Leaks | None = None
    correction: Correction | None = None
    lines_sha256: str = ""
    schema: int = 2


@dataclass(frozen=True)
class LineResult(Edited):
    """A stored line of a cell, with raw texts so that it can be scored again.

    uncorrected, verdict: as in `Decoded`.
    block: as in `Line`.
    """

    id: str
    writer: str
    reference: str
    text: str
    tokens: int
    score: float | None
    truncated: bool
    substitutions: int
    deletions: int
    insertions: int
    word_edits: int
    uncorrected: str | None = None
    verdict: str = ""
    block: str = field(kw_only=True)
