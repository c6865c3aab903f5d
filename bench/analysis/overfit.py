"""Over-fitting: one system on lines that it may have learned from, and on lines that it has not.

A model that reads its training lines far better than others has learned them by heart, and its
CER on a test split of the same pages, hands or texts says little of new ones. The same number of
lines is read from each split, and the ratio of the two CERs has an interval over blocks (hands,
letters, ...: `Line.block`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from bench.analysis.stats import FEWEST, Interval, micro_interval, ratio_interval
from bench.core.errors import UserError
from bench.core.metrics import score_line
from bench.core.types import Line, Runtime
from bench.pipeline.plan import Registries
from bench.pipeline.reading import Track, encode, open_trained, opened
from datasets.about import Blocks, blocks_of
from datasets.base import Dataset, named_in, spread
from decoders.base import Decoder, DecoderSpec
from decoders.correctors import options_of
from models.base import Encoder

LEARNED = "train"  # the split that a model may have learned from
UNSEEN = "test"
OVER = 2.0  # an unseen CER of surely more than so many times the learned one is over-fitting

FEWEST_LINES = 50  # of each split: fewer tell nothing
HIGHEST = 0.6  # CER of a split: where nearly everything is wrong, nothing can be much worse

Verdict = Literal[
    "over-fitted", "better on training lines", "no sign of over-fitting", "cannot tell"
]


@dataclass(frozen=True)
class Job:
    """What to check, by registered names.

    limit: lines of each split, spread evenly over it.
    options: of encoder, decoder and data set, by name.
    learned: the split that the system may have learned from; unseen: one that it has not.
    """

    encoder: str
    decoder: str
    dataset: str
    limit: int = 300
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    learned: str = LEARNED
    unseen: str = UNSEEN


@dataclass(frozen=True)
class SplitScore:
    """Edits and reference characters of the lines of a split, and their blocks.

    counted: the blocks; None takes them for writers.
    """

    split: str
    sha256: str
    edits: tuple[int, ...]
    characters: tuple[int, ...]
    blocks: tuple[str, ...]
    counted: Blocks | None = None

    @property
    def cer(self) -> float:
        """Micro CER, a fraction."""
        return sum(self.edits) / sum(self.characters)

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the CER, None with too few blocks."""
        return micro_interval(self.edits, self.characters, self.blocks)

    @property
    def blocks_counted(self) -> Blocks:
        """How many blocks there are, and what they are."""
        return self.counted or Blocks(len(set(self.blocks)))


@dataclass(frozen=True)
class Check:
    """A system on the splits of a data set.

    trained_on: what the weights say that they were trained on; "" when they say nothing.
    learned, unseen: the splits that are compared.
    """

    encoder: str
    weights: str
    decoder: str
    dataset: str
    trained_on: str
    scores: tuple[SplitScore, ...]
    learned: str = LEARNED
    unseen: str = UNSEEN

    def score(self, split: str) -> SplitScore:
        """Of a split."""
        return next(score for score in self.scores if score.split == split)

    @cached_property
    def ratio(self) -> Interval | None:
        """95 % interval of unseen CER / learned CER; infinite without an error in training."""
        learned, unseen = self.score(self.learned), self.score(self.unseen)
        return ratio_interval(
            (unseen.edits, unseen.characters, unseen.blocks),
            (learned.edits, learned.characters, learned.blocks),
        )

    @cached_property
    def doubt(self) -> str:
        """Why no verdict is possible; "" where one is."""
        both = [self.score(self.learned), self.score(self.unseen)]
        few = [score for score in both if len(score.edits) < FEWEST_LINES]
        if few:
            return f"{few[0].split} has {len(few[0].edits)} lines, fewer than {FEWEST_LINES}"
        if self.ratio is None:
            score = min(both, key=lambda score: score.blocks_counted.count)
            blocks = score.blocks_counted
            noun = blocks.noun if blocks.count == 1 else f"{blocks.noun}s"
            return f"{score.split} has {blocks.count} {noun}, fewer than {FEWEST}"
        high = [score for score in both if score.cer > HIGHEST]
        if high and self.ratio.low <= OVER:  # a CER that cannot rise further hides a difference
            return f"more than {100 * HIGHEST:.0f} % of {high[0].split} is read wrongly"
        return ""

    @property
    def verdict(self) -> Verdict:
        """What the ratio says, where it says anything."""
        if self.doubt or self.ratio is None:
            return "cannot tell"
        if self.ratio.low > OVER:
            return "over-fitted"
        return "better on training lines" if self.ratio.low > 1 else "no sign of over-fitting"

    @property
    def known(self) -> bool:
        """Whether the weights say that they were trained on this very set."""
        return named_in(self.dataset, self.trained_on)


def check(job: Job, registries: Registries, track: Track) -> Check:
    """Read the same number of lines of each split with one system.

    Raises:
        UserError: an unknown name or option, untrained weights, a set without a train or test
            split or with an empty one.
        Unavailable: something that it needs is not here.
    """
    if job.limit < 1:
        raise UserError(f"a limit of {job.limit} lines leaves nothing to read")
    dataset: Dataset = registries.datasets.create(job.dataset, job.options.get(job.dataset))
    if absent := dataset.missing():
        raise absent
    if not {job.learned, job.unseen} <= set(dataset.splits) or job.learned == job.unseen:
        raise UserError(
            f"{job.dataset} has no split {job.learned} and {job.unseen} to compare; it has "
            f"{', '.join(dataset.splits)}"
        )
    spec: DecoderSpec = registries.decoders.create(
        job.decoder, options_of(job.decoder, job.options)
    )
    options = job.options.get(job.encoder)
    encoder = open_trained(registries.encoders, job.encoder, options, job.runtime)
    with opened(spec, encoder.info) as decoder:
        scores = [
            _score(encoder, decoder, dataset, split, job, track)
            for split in dict.fromkeys((job.learned, "val", job.unseen))
            if split in dataset.splits
        ]
    return Check(
        encoder=job.encoder,
        weights=encoder.info.weights,
        decoder=job.decoder,
        dataset=job.dataset,
        trained_on=encoder.info.trained_on,
        scores=tuple(scores),
        learned=job.learned,
        unseen=job.unseen,
    )


def _score(
    encoder: Encoder, decoder: Decoder, dataset: Dataset, split: str, job: Job, track: Track
) -> SplitScore:
    for each in track([dataset], f"loading {job.dataset} {split}"):
        found = each.load(split)
    lines = spread([line for line in found.lines if line.text.strip()], job.limit)
    if not lines:
        raise UserError(f"{job.dataset} has no line with a text in its split {split}")
    edits, characters, read_lines = list[int](), list[int](), list[Line]()
    for reading in encode(encoder, decoder.spec, lines, job.runtime.batch_size, track):
        decoded = decoder.decode(reading.encoded)
        for line, read in zip(reading.lines, decoded, strict=True):
            score = score_line(line.text, read.text)
            edits.append(score.edits)
            characters.append(score.characters)
            read_lines.append(line)
    blocks = tuple(line.block for line in read_lines)
    counted = blocks_of(job.dataset, read_lines)
    return SplitScore(split, found.sha256, tuple(edits), tuple(characters), blocks, counted)
