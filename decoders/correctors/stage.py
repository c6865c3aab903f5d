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

from bench.core.errors import Unavailable, UserError
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import DECODERS, tuned
from decoders.base import Decoder
from decoders.correctors import CORRECTORS, GATE, PLUS, split_name
from decoders.correctors.base import Correction, Corrector, Read, options
from decoders.correctors.gated import Gated

_GUESS = "nothing (a guess)"


@dataclass(frozen=True)
class Corrected(tuned.Tunable["tuned.Weighted"]):
    """A decoder, and a corrector of its texts.

    first: the decoder's name; layers: those of the corrector, a gate before what it gates.
    """

    name: ClassVar[str]
    first: ClassVar[str]
    layers: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        self.parts  # noqa: B018  (refuses values that make no sense)

    @functools.cached_property
    def parts(self) -> tuple[Corrector, ...]:
        """The corrector, a gate before what it gates."""
        made: list[Corrector] = [
            CORRECTORS.target(layer)(**self._own(f"{layer}_")) for layer in self.layers
        ]
        if len(made) == 2:
            return cast(Gated, made[0]).around(made[1]), made[1]
        return tuple(made)

    @property
    def corrector(self) -> Corrector:
        """What corrects, behind its gate if it has one."""
        return self.parts[-1]

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
        untuned = {
            f"{layer}_{option}": value
            for layer, part in zip(self.layers, self.parts, strict=True)
            for option, value in part.untuned.items()
        }
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
        found = self.parts[0].correct(Read(encoded, lines, self.decoder)) if lines else []
        return [_corrected(line, one) for line, one in zip(lines, found, strict=True)]

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these weights from now on."""
        super().reweight(values)
        for layer, part in zip(self.layers, self.parts, strict=True):
            own = f"{layer}_"
            part.weigh({n[len(own) :]: v for n, v in values.items() if n.startswith(own)})

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

    def _own(self, prefix: str) -> dict[str, Any]:
        return {
            name[len(prefix) :]: value
            for name, value in options(self).items()
            if name.startswith(prefix)
        }


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
    first, layers = split_name(name)
    target = DECODERS.target(first)
    correctors = {layer: CORRECTORS.target(layer) for layer in layers}
    if layers == (GATE,):
        inner = ", ".join(f"{first}{PLUS}{GATE}-{n}" for n in CORRECTORS.names() if n != GATE)
        raise UserError(f"{GATE} is a gate before a corrector; take one of {inner}")
    if layers[-1] == GATE:
        raise UserError(f"{GATE} stands before a corrector and not before another gate")
    fields = [(n, kind, _copy(f)) for n, (f, kind) in _options(target).items()]
    for layer, corrector in correctors.items():
        own = _options(corrector).items()
        fields += [(f"{layer}_{n}", kind, _copy(f)) for n, (f, kind) in own]
    tunes = {
        f"{layer}_{option}": values
        for layer, corrector in correctors.items()
        for option, values in corrector.tunes.items()
    }
    of_classes = {
        "name": name,
        "first": first,
        "layers": layers,
        "needs": target.needs,
        "tunes": tunes,
        "__doc__": f"{target.__doc__}\n\nThen: {correctors[layers[-1]].__doc__}",
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
