"""A decoder with a corrector behind it, as a decoder.

Its options are those of both, the corrector's with its name before them (`lm_weight`). Each pair
is a class of its own, made when it is first asked for: `getattr(module, "ctc-greedy+lm")`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast, get_type_hints

from bench.core.errors import Unavailable
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import DECODERS, tuned
from decoders.base import Decoder
from decoders.correctors import CORRECTORS, PLUS, split_name
from decoders.correctors.base import Correction, Corrector, Read, options

_GUESS = "nothing (a guess)"


@dataclass(frozen=True)
class Corrected(tuned.Tunable["tuned.Weighted"]):
    """A decoder, and a corrector of its texts.

    first: the decoder's name; then: the corrector's.
    """

    name: ClassVar[str]
    first: ClassVar[str]
    then: ClassVar[str]

    def __post_init__(self) -> None:
        self.corrector  # noqa: B018  (refuses values that make no sense)

    @functools.cached_property
    def corrector(self) -> Corrector:
        """What corrects."""
        corrector: Corrector = CORRECTORS.target(self.then)(**self._own(options(self)))
        return corrector

    @functools.cached_property
    def decoder(self) -> Decoder:
        """What reads first; it tells as many alternatives as the corrector wants and it can."""
        target = DECODERS.target(self.first)
        values = {name: getattr(self, name) for name in _options(target)}
        if {"beam", "nbest"} <= values.keys():
            most = min(self.corrector.wanted(), values["beam"])
            values["nbest"] = max(values["nbest"], most)
        decoder: Decoder = target(**values)
        return decoder

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """What the decoder or the corrector misses."""
        absent = self.decoder.missing(encoder)
        return absent or self.corrector.missing(encoder, self.decoder)

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The decoder's, unless the corrector writes freely."""
        return () if self.corrector.free else self.decoder.alphabet(encoder)

    def open(self, encoder: EncoderInfo) -> None:
        """Open both, and look up what was tuned for this pair.

        Raises:
            UserError: one of them cannot be opened.
        """
        self.decoder.open(encoder)
        self.corrector.open(encoder, self.decoder)
        model = self.corrector.extras()
        names = (str(model.get("lm", "")), str(model.get("lm_sha256", "")))
        untuned = {f"{self.then}_{name}": value for name, value in self.corrector.untuned.items()}
        found = tuned.weights(self, (self.name,), encoder, names, (untuned, _GUESS))
        self._keep(tuned.Weighted(*found))
        self.reweight(found[0])

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """Read and correct."""
        return self.correct(encoded, self.read(encoded))

    def read(self, encoded: Encoded) -> list[Decoded]:
        """What the decoder alone reads."""
        return self.decoder.decode(encoded)

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Decoded]:
        """The lines as the corrector has them; each keeps what the decoder read."""
        self._opened()
        found = self.corrector.correct(Read(encoded, lines, self.decoder)) if lines else []
        return [_corrected(line, one) for line, one in zip(lines, found, strict=True)]

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these weights from now on."""
        super().reweight(values)
        self.corrector.weigh(self._own(values))

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """What the decoder does not apply."""
        return self.decoder.ignored(encoder)

    def close(self) -> None:
        """Close both."""
        self.corrector.close()
        self.decoder.close()
        self._keep(None)

    def extras(self) -> Mapping[str, Any]:
        """What the corrector says of itself, and the decoder with `first_` before its words."""
        state, said = self._opened(), dict(self.corrector.extras())
        own = _options(type(self))
        behind = {
            name if name in own and name not in said else f"first_{name}": value
            for name, value in self.decoder.extras().items()
        }
        weights = {**state.values, "tuned_on": state.source} if self.tunes else {}
        return {**said, **weights, **behind}

    def _own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the corrector, as it calls them."""
        own = f"{self.then}_"
        return {name[len(own) :]: v for name, v in values.items() if name.startswith(own)}


def _corrected(line: Decoded, found: Correction) -> Decoded:
    """The tokens stay those that the decoder generated."""
    return dataclasses.replace(
        line,
        text=found.text,
        score=found.score,
        nbest=found.nbest,
        uncorrected=line.text,
        verdict=found.verdict,
    )


@functools.cache
def _paired(name: str) -> type[Corrected]:
    """The class of a pair of decoder and corrector."""
    first, then = split_name(name)
    target, corrector = DECODERS.target(first), CORRECTORS.target(then)
    fields = [(n, kind, _copy(f)) for n, (f, kind) in _options(target).items()]
    fields += [(f"{then}_{n}", kind, _copy(f)) for n, (f, kind) in _options(corrector).items()]
    of_classes = {
        "name": name,
        "first": first,
        "then": then,
        "needs": target.needs,
        "tunes": {f"{then}_{option}": values for option, values in corrector.tunes.items()},
        "__doc__": f"{target.__doc__}\n\nThen: {corrector.__doc__}",
        "__module__": __name__,
    }
    made = dataclasses.make_dataclass(
        name.replace(PLUS, "_").replace("-", "_"),
        fields,
        bases=(Corrected,),
        namespace=of_classes,
        frozen=True,
    )
    return cast(type[Corrected], made)


def _options(target: Any) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The options of a dataclass with their resolved types."""
    hints = get_type_hints(target)
    return {f.name: (f, hints[f.name]) for f in dataclasses.fields(target) if f.init}


def _copy(option: dataclasses.Field[Any]) -> Any:
    """The default of an option, for another class."""
    if option.default_factory is not dataclasses.MISSING:
        return field(default_factory=option.default_factory)
    return field(default=option.default)


def __getattr__(name: str) -> type[Corrected]:
    if PLUS not in name:
        raise AttributeError(name)
    return _paired(name)
