"""Options that make up a `Selection` of cells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bench.cli import PROGRAM
from bench.cli.options import WHAT, Inference, Names, Numbers, Options
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options

if TYPE_CHECKING:
    from bench.pipeline.plan import Registries, Rounds, Selection


def typed(options: Sequence[str], names: Registries) -> dict[str, dict[str, Any]]:
    """The values of `-o` by the name of their encoder, decoder, corrector, data set or damage.

    Raises:
        UserError: an unknown name or option, or a value of a wrong type.
    """
    registries = (names.encoders, names.decoders, names.datasets, names.damages, names.correctors)
    return typed_options(parse_options(options), registries)


def parts_of_system(system: str) -> tuple[str, str]:
    """Encoder and decoder of ENCODER:DECODER.

    Raises:
        UserError: it does not name both.
    """
    encoder, _, decoder = system.rpartition(":")
    if not (encoder and decoder):
        raise UserError(f"{system!r} is no system; name ENCODER:DECODER, such as mini:ctc-greedy")
    return encoder, decoder


def _everything(names: tuple[str, ...], registered: Sequence[str]) -> tuple[str, ...]:
    return tuple(registered) if "all" in names else names


@Parameter(name="*", group=WHAT)
@dataclasses.dataclass(frozen=True)
class Choices:
    """The cells that are measured.

    Args:
        main_job: the main job; the options below narrow it
        encoder: encoders, also owner/name or ./folder; default without --all: the first of `list`
        decoder: decoders, also with a corrector (ctc-greedy+lm); default without --all: all
        dataset: data sets; default without --all: the first of `list`
        damage: damages, and none for the clean set; default without --all: none
        llm_url: OpenAI-compatible endpoint of the corrector llm (decoder+llm), such as
            http://localhost:11434/v1; its key comes from KAIDOKU_LLM_KEY or OPENAI_API_KEY
        llm_model: as that server names it
        severity: 1 to 5 (0 is clean); default: 3
        split: of the data sets
        limit: the first N lines of a set only
        seed: of the damages
        strict: stop at a data set with a line that cannot be used (exit code 2)
    """

    main_job: Annotated[bool, Parameter(name="--all")] = False
    encoder: Names = ()
    decoder: Names = ()
    dataset: Names = ()
    damage: Names = ()
    llm_url: str | None = None
    llm_model: str | None = None
    severity: Numbers = ()
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    strict: bool = False
    options: Options = ()

    @property
    def named(self) -> tuple[str, ...]:
        """The things that the user chose by name."""
        return (*self.encoder, *self.decoder, *self.dataset, *self.damage)

    def selection(self, inference: Inference, rounds: int | None = None) -> Selection:
        """The cells that these options choose.

        Raises:
            UserError: an unknown name or option, or a value of a wrong type.
        """
        from bench.pipeline.plan import CLEAN, Registries, Selection

        names = Registries()
        if not (self.main_job or self.named):
            raise UserError(
                "say what to measure: --all, or --encoder, --decoder, --dataset, --damage "
                f"({PROGRAM} list shows what there is)"
            )
        base = Selection.all(names) if self.main_job else Selection(
            encoders=(names.encoders.names()[0],),
            decoders=tuple(names.decoders.names()),
            datasets=(names.datasets.names()[0],),
        )  # fmt: skip
        damages = _everything(self.damage, (CLEAN, *names.damages.names())) or base.damages
        if damages == (CLEAN,) and (self.severity or self.seed):
            raise UserError("--severity and --seed are of damages; add --damage NAMES")
        datasets = _everything(self.dataset, names.datasets.names()) or base.datasets
        endpoint = (("url", self.llm_url), ("model", self.llm_model))
        llm = [f"llm.{option}={value}" for option, value in endpoint if value is not None]
        options = typed([*self.options, *llm], names)
        if self.strict:
            options |= {name: {**options.get(name, {}), "strict": True} for name in datasets}
        return dataclasses.replace(
            base,
            encoders=_everything(self.encoder, names.encoders.names()) or base.encoders,
            decoders=_everything(self.decoder, names.decoders.names()) or base.decoders,
            datasets=datasets,
            damages=damages,
            severities=self.severity or base.severities,
            swept=tuple(name for name in base.swept if name in damages and not self.severity),
            # A damage that is asked for by name falls on every set that is read.
            damaged=None if self.damage else base.damaged,
            split=self.split,
            limit=self.limit,
            seed=self.seed,
            runtime=inference.runtime(),
            options=options,
            # An encoder that is asked for by name does the whole job, with the weights that it has.
            samples={} if self.encoder else base.samples,
            stand_ins={} if self.encoder else base.stand_ins,
            rounds=base.rounds if rounds is None else _rounds(rounds),
        )


def _rounds(count: int) -> Rounds:
    """A fixed number of rounds, however long they take."""
    from bench.pipeline.plan import Rounds

    if count < 1:
        raise UserError(f"--rounds {count} measures nothing; take 1 or more")
    return Rounds(least=count, least_s=0.0, most_s=math.inf)
