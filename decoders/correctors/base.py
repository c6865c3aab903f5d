"""The contract of a corrector, and the two-stage decoder with one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.core.errors import Unavailable
from bench.core.options import settings
from bench.core.types import Decoded, Encoded, EncoderInfo, Needs
from decoders import tuned
from decoders.base import Decoder, DecoderSpec, NBest, Stage
from decoders.correctors import own_options, split_name

REFUSED = "refused: "  # prefix of the verdict on a refused answer


@dataclass(frozen=True)
class CorrectedLine:
    """The corrected text of one line.

    verdict: `REFUSED` and the reason if the decoder's text was kept by a rule; "" for the
        corrector's own text, changed or not.
    score: of the text, where the corrector has one (natural log, higher is better).
    nbest: reranked alternatives, if any.
    """

    text: str
    verdict: str = ""
    score: float | None = None
    nbest: NBest = ()


@dataclass(frozen=True)
class CorrectorSpec(ABC):
    """A registered corrector; its fields are its options, like those of a `DecoderSpec`.

    free: whether it may write texts that the decoder cannot.
    tunes: as of a decoder; untuned: the values where none were tuned.
    """

    free: ClassVar[bool] = True
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    untuned: ClassVar[Mapping[str, float]] = {}

    def alternatives(self) -> int:
        """The number of hypotheses of each line that it needs."""
        return 1

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """The reason for not correcting this decoder's texts; None when it can."""
        return None

    @abstractmethod
    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Open the corrector and all that it needs, outside of the measured time.

        Raises:
            UserError: an option, a file or a server that it names cannot be used.
        """


class Corrector(Stage):
    """An open corrector behind an open decoder.

    values: the current weights, by option. Its `extras` name its model: `lm` and `lm_sha256`.
    """

    kind = "corrector"
    spec: Any

    def __init__(self, spec: CorrectorSpec, decoder: Decoder) -> None:
        self.spec, self.decoder = spec, decoder
        self.values: dict[str, float] = {}

    @abstractmethod
    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[CorrectedLine]:
        """One `CorrectedLine` a line, in order."""

    def run(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Decoded]:
        """Correct the lines; each keeps its uncorrected text and its tokens."""
        corrections = self.correct(encoded, lines) if lines else []
        return [
            dataclasses.replace(line, uncorrected=line.text, **vars(correction))
            for line, correction in zip(lines, corrections, strict=True)
        ]

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these values of options of `tunes` from now on."""
        self.values.update(values)


@dataclass(frozen=True)
class CorrectedSpec(DecoderSpec):
    """A decoder and a corrector of its texts; the options are those of both.

    name: "decoder+corrector"; the corrector's options have its name before them (`lm_weight`).
    """

    name: str
    decoder: DecoderSpec
    corrector: CorrectorSpec

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        """Needs of the decoder."""
        return self.decoder.needs

    @property
    def tunes(self) -> Mapping[str, tuple[float, ...]]:  # type: ignore[override]
        """The weights of the corrector."""
        return self._prefixed(self.corrector.tunes)

    @property
    def untuned(self) -> Mapping[str, float]:  # type: ignore[override]
        """The untuned weights of the corrector."""
        return self._prefixed(self.corrector.untuned)

    @property
    def search(self) -> DecoderSpec:
        """The decoder, keeping as many alternatives as the corrector needs and its beam has."""
        now = self.decoder.settings()
        if not {"beam", "nbest"} <= now.keys():
            return self.decoder
        most = min(self.corrector.alternatives(), now["beam"])
        changed: Any = {"nbest": max(now["nbest"], most)}
        return dataclasses.replace(self.decoder, **changed)

    @property
    def parts(self) -> tuple[Any, ...]:
        """This spec, the decoder and the corrector."""
        return (self, *self.decoder.parts, self.corrector)

    def settings(self) -> dict[str, Any]:
        """The options of both with their values."""
        return {**self.decoder.settings(), **self._prefixed(settings(self.corrector))}

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """The first reason of decoder and corrector."""
        return self.search.missing(encoder) or self.corrector.missing(encoder, self.search)

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The decoder's alphabet, unless the corrector writes freely."""
        return () if self.corrector.free else self.decoder.alphabet(encoder)

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """The settings that the decoder ignores."""
        return self.decoder.ignored(encoder)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Open both, and look up what was tuned for this pair."""
        return _Corrected(self, encoder)

    def _prefixed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{split_name(self.name)[1]}_{option}": v for option, v in values.items()}


class _Corrected(tuned.Tunable):
    spec: CorrectedSpec

    def __init__(self, spec: CorrectedSpec, encoder: EncoderInfo) -> None:
        self.decoder = spec.search.open(encoder)
        try:
            self.corrector = spec.corrector.open(encoder, self.decoder)
        except BaseException:
            self.decoder.close()
            raise
        own = self.corrector.extras()
        lm = str(own.get("lm", "")), str(own.get("lm_sha256", ""))
        super().__init__(spec, tuned.weights(spec, encoder, lm, spec.name))
        self.reweight(self.values)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (*self.decoder.stages, self.corrector)

    def decode(self, encoded: Encoded) -> list[Decoded]:
        lines: list[Decoded] = []
        for stage in self.stages:
            lines = stage.run(encoded, lines)
        return lines

    def reweight(self, values: Mapping[str, float]) -> None:
        super().reweight(values)
        self.corrector.reweight(own_options(self.spec.name, values)[1])

    def close(self) -> None:
        self.corrector.close()
        self.decoder.close()

    def extras(self) -> Mapping[str, Any]:
        own, options = self.corrector.extras(), self.spec.settings()
        first = {
            name if name in options and name not in own else f"first_{name}": value
            for name, value in self.decoder.extras().items()
        }
        weights = {**self.values, "tuned_on": self.source} if self.spec.tunes else {}
        return {**own, **weights, **first}
