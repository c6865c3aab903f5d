"""A decoder with a corrector behind it: two stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.core.errors import Unavailable
from bench.core.options import settings
from bench.core.types import Decoded, Encoded, EncoderInfo, Needs
from decoders import tuned
from decoders.base import DecoderSpec, Stage
from decoders.correctors import own_options, split_name
from decoders.correctors.base import CorrectorSpec

_GUESS = "nothing (a guess)"


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
        """What the decoder reads."""
        return self.decoder.needs

    @property
    def tunes(self) -> Mapping[str, tuple[float, ...]]:  # type: ignore[override]
        """The weights of the corrector."""
        return self._prefixed(self.corrector.tunes)

    @property
    def search(self) -> DecoderSpec:
        """The decoder, keeping as many alternatives as the corrector wants and it can."""
        now = self.decoder.settings()
        if not {"beam", "nbest"} <= now.keys():
            return self.decoder
        most = min(self.corrector.wanted(), now["beam"])
        changed: Any = {"nbest": max(now["nbest"], most)}
        return dataclasses.replace(self.decoder, **changed)

    @property
    def parts(self) -> tuple[Any, ...]:
        """This, the decoder and the corrector."""
        return (self, *self.decoder.parts, self.corrector)

    def settings(self) -> dict[str, Any]:
        """The options of both with their values."""
        return {**self.decoder.settings(), **self._prefixed(settings(self.corrector))}

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """What the decoder or the corrector misses."""
        return self.search.missing(encoder) or self.corrector.missing(encoder, self.search)

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The decoder's, unless the corrector writes freely."""
        return () if self.corrector.free else self.decoder.alphabet(encoder)

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """What the decoder does not apply."""
        return self.decoder.ignored(encoder)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Open both, and look up what was tuned for this pair.

        Raises:
            UserError: one of them cannot be opened.
        """
        return Corrected(self, encoder)

    def _prefixed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{split_name(self.name)[1]}_{option}": v for option, v in values.items()}


class Corrected(tuned.Tunable):
    """An open decoder and an open corrector."""

    spec: CorrectedSpec

    def __init__(self, spec: CorrectedSpec, encoder: EncoderInfo) -> None:
        self.decoder = spec.search.open(encoder)
        try:
            self.corrector = spec.corrector.open(encoder, self.decoder)
        except BaseException:
            self.decoder.close()
            raise
        model = self.corrector.extras()
        names = (str(model.get("lm", "")), str(model.get("lm_sha256", "")))
        untuned = (spec._prefixed(spec.corrector.untuned), _GUESS)
        super().__init__(spec, tuned.weights(spec, (spec.name,), encoder, names, untuned))
        self.reweight(self.values)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The search, then the correction."""
        return (*self.decoder.stages, self.corrector)

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """Read and correct."""
        lines: list[Decoded] = []
        for stage in self.stages:
            lines = stage.run(encoded, lines)
        return lines

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these weights from now on."""
        super().reweight(values)
        self.corrector.reweight(own_options(self.spec.name, values)[1])

    def close(self) -> None:
        """Close both."""
        self.corrector.close()
        self.decoder.close()

    def extras(self) -> Mapping[str, Any]:
        """What the corrector says of itself, and the decoder with `first_` before its words."""
        said, own = dict(self.corrector.extras()), self.spec.settings()
        behind = {
            name if name in own and name not in said else f"first_{name}": value
            for name, value in self.decoder.extras().items()
        }
        weights = {**self.values, "tuned_on": self.source} if self.spec.tunes else {}
        return {**said, **weights, **behind}
