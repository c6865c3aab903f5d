"""Check for over-fitting: one system on lines of its training and on unseen lines.

A model that reads its training lines far better than others over-fits them, and its CER on a test
split of the same pages, hands or texts does not transfer to new ones. The same number of
lines is read from each split, and the ratio of the two CERs has an interval over blocks (hands,
letters, ...: `Line.block`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bench.analysis.stats import Interval, micro_interval, ratio_interval
from bench.core.errors import UserError
from bench.core.metrics import score_line
from bench.pipeline.opening import Bench, Track, opened
from bench.pipeline.plan import Registries, Selection
from datasets.about import Blocks, blocks_of
from datasets.base import named_in, spread
from decoders.base import Decoder

LEARNED = "train"  # the split that a model may have learned from
UNSEEN = "test"
LIMIT = 300  # lines of each split
OVER = 2.0  # over-fitting if the ratio of unseen to learned CER surely exceeds this

FEWEST_LINES = 50  # of each split; fewer are not informative
HIGHEST = 0.6  # CER of a split; above it, a ratio cannot be large

Doubt = Literal["few lines", "few blocks", "mostly wrong"]


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
        """Number and kind of the blocks."""
        return self.counted or Blocks(len(set(self.blocks)))


@dataclass(frozen=True)
class OverfitCheck:
    """A system on the splits of a data set.

    trained_on: training data by the weights' own note; "" without one.
    """

    encoder: str
    weights: str
    decoder: str
    dataset: str
    trained_on: str
    scores: tuple[SplitScore, ...]

    def score(self, split: str) -> SplitScore:
        """Score of a split."""
        return next(score for score in self.scores if score.split == split)

    @cached_property
    def ratio(self) -> Interval | None:
        """95 % interval of unseen CER / learned CER; infinite without an error in training."""
        learned, unseen = self.score(LEARNED), self.score(UNSEEN)
        return ratio_interval(
            (unseen.edits, unseen.characters, unseen.blocks),
            (learned.edits, learned.characters, learned.blocks),
        )

    @cached_property
    def doubt(self) -> tuple[Doubt, SplitScore] | None:
        """Reason why no verdict is possible, and the split that it is about."""
        both = [self.score(LEARNED), self.score(UNSEEN)]
        few = [score for score in both if len(score.edits) < FEWEST_LINES]
        if few:
            return "few lines", few[0]
        if self.ratio is None:
            return "few blocks", min(both, key=lambda score: score.blocks_counted.count)
        high = [score for score in both if score.cer > HIGHEST]
        if high and self.ratio.low <= OVER:  # a CER that cannot rise further hides a difference
            return "mostly wrong", high[0]
        return None

    @property
    def verdict(self) -> str:
        """Over-fitted, better on training lines, no sign of over-fitting, or cannot tell."""
        if self.doubt or self.ratio is None:
            return "cannot tell"
        if self.ratio.low > OVER:
            return "over-fitted"
        return "better on training lines" if self.ratio.low > 1 else "no sign of over-fitting"

    @property
    def known(self) -> bool:
        """Whether the weights' note names this set as training data."""
        return named_in(self.dataset, self.trained_on)


def check(asked: Selection, registries: Registries, track: Track) -> OverfitCheck:
    """Read the same number of lines of each split with one system.

    The limit is of each split, spread evenly over it.

    Raises:
        UserError: an unknown name or option, untrained weights, a set without a train or test
            split or with an empty one.
        Unavailable: something that it needs is not here.
    """
    (encoder,), (name,), (dataset,) = asked.encoders, asked.decoders, asked.datasets
    limit = LIMIT if asked.limit is None else asked.limit
    splits = registries.datasets.create(dataset, asked.options.get(dataset)).split_names()
    if not {LEARNED, UNSEEN} <= set(splits):
        raise UserError(
            f"{dataset} has no split {LEARNED} and {UNSEEN} to compare; it has {', '.join(splits)}"
        )
    with opened(encoder, registries, asked.options, asked.runtime, track, trained=True) as bench:
        decoder = bench.decoder(bench.spec(name))
        scores = tuple(
            _score(bench, decoder, dataset, split, limit)
            for split in (LEARNED, "val", UNSEEN)
            if split in splits
        )
        info = bench.info
    return OverfitCheck(encoder, info.weights, name, dataset, info.trained_on, scores)


def _score(bench: Bench, decoder: Decoder, dataset: str, split: str, limit: int) -> SplitScore:
    loaded = bench.lines(dataset, split)
    lines = spread([line for line in loaded.lines if line.text.strip()], limit)
    if not lines:
        raise UserError(f"{dataset} has no line with a text in its split {split}")
    pairs = [
        (line, score_line(line.text, read.text))
        for batch in bench.encode(lines, decoder.spec)
        for line, read in zip(batch.lines, decoder.decode(batch.encoded), strict=True)
    ]
    return SplitScore(
        split,
        loaded.sha256,
        tuple(score.edits for _, score in pairs),
        tuple(score.characters for _, score in pairs),
        tuple(line.block for line, _ in pairs),
        blocks_of(dataset, lines),
    )
