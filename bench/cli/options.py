"""Options that several commands share, and the `Selection` of cells that they make."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from bench.cli import PROGRAM
from bench.core.bounds import Count, Whole
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.options import parse_options, typed_options, words
from bench.core.registry import need
from bench.core.types import Runtime

if TYPE_CHECKING:
    from bench.pipeline.plan import Registries, Rounds, Selection

WHAT = Group("what to measure", sort_key=1)
HOW = Group("how", sort_key=2)
RESULTS = Group("results", sort_key=3)


def _words(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    found = words(token.value for token in tokens)
    if tokens and not found:  # an empty variable of a script
        raise UserError(f"{tokens[0].keyword} names nothing; name something, or leave it out")
    return found


def _numbers(_: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    texts = words(token.value for token in tokens)
    try:
        return tuple(map(int, texts))
    except ValueError:
        flag = tokens[0].keyword
        raise UserError(f"{flag} takes whole numbers, not {','.join(texts)}") from None


# Lists are separated by commas, repeated, or both.
Names = Annotated[tuple[str, ...], Parameter(converter=_words, metavar="NAMES")]
Numbers = Annotated[tuple[int, ...], Parameter(converter=_numbers, metavar="N,...")]

# Several words after one flag: --text A B.
Files = Annotated[tuple[Path, ...], Parameter(consume_multiple=1)]

# For `bench.core.options.parse_options`.
Options = Annotated[
    tuple[str, ...],
    Parameter(
        name="-o",
        metavar="NAME.OPTION=VALUE",
        help="set an option of anything named here; `list NAME` shows which; may be repeated",
    ),
]
Json = Annotated[bool, Parameter(name="--json", help="print for programs")]
Form = Annotated[
    Literal["text", "md", "tex", "csv"],
    Parameter(name="--format", help="of the tables on stdout; default: text"),
]

AllowLeak = Annotated[
    bool,
    Parameter(name="--allow-leak", help="go on where test lines stand in what is learned from"),
]

# `main` heeds them for every command with a parameter `lang` or `data_root`.
Lang = Annotated[
    Literal["en", "ja"] | None,
    Parameter(
        name="--lang",
        help="language of tables, plots and sentences; default: $KAIDOKU_LANG, else ja where "
        "LC_ALL or LANG begins with it, else en",
    ),
]

DataRoot = Annotated[
    Path | None,
    Parameter(
        name="--data-root",
        help="where data sets lie that are not embedded; default: $BENCH_DATA, else data/ here",
    ),
]


@Parameter(name="*", group=HOW)
@dataclasses.dataclass(frozen=True)
class Machine:
    """The machine that a command runs on.

    Args:
        device: cpu, cuda, cuda:1; default: cuda where it is there
        threads: of torch; default: one a core, or as many as $OMP_NUM_THREADS
    """

    device: str | None = None
    threads: Count | None = None

    def runtime(self) -> Runtime:
        """The runtime of a cell; the machine decides what was left out."""
        from bench.core.machine import best_device, thread_count

        return Runtime(
            device=self.device or best_device(),
            threads=thread_count() if self.threads is None else self.threads,
        )


@Parameter(name="*", group=HOW)
@dataclasses.dataclass(frozen=True)
class Inference(Machine):
    """A machine, the precision and the size of a batch.

    Args:
        batch_size: lines that are encoded together
        dtype: float32, bfloat16 or float16
    """

    batch_size: Count = 32
    dtype: str = "float32"

    def runtime(self) -> Runtime:
        """The runtime of a cell; the machine decides what was left out."""
        runtime = super().runtime()
        return dataclasses.replace(runtime, dtype=self.dtype, batch_size=self.batch_size)


def check_workbook(path: Path) -> None:
    """Refuse a workbook that cannot be written, before its tables are made.

    Raises:
        UserError: it is no .xlsx, or its folder is not there.
        Unavailable: openpyxl is not installed.
    """
    need("openpyxl", "--xlsx")
    if path.suffix.lower() != ".xlsx":
        raise UserError(f"--xlsx writes .xlsx, which {path.name} is not")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent} for {path.name}; make it first")


def print_json(record: Any) -> None:
    """Print a record for programs."""
    print(json.dumps(plain(record), indent=2))


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
class CellChoices:
    """The cells that are measured.

    Args:
        main_job: the main job; the options below narrow it
        encoder: encoders, also owner/name or ./folder; default without --all: the first of `list`
        decoder: decoders, also with a corrector (ctc-greedy+lm); default: those of the main job
        dataset: data sets; default without --all: the first of `list`
        damage: damages, and none for the clean set; default without --all: none
        llm_url: OpenAI-compatible endpoint of the corrector llm (decoder+llm), such as
            http://localhost:11434/v1; its key comes from KAIDOKU_LLM_KEY or OPENAI_API_KEY
        llm_model: as that server names it
        severity: 1 to 5 (0 is clean); default: 3
        split: of the data sets
        limit: the first N lines of a set only
        seed: of the damages
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
    limit: Count | None = None
    seed: Whole = 0
    options: Options = ()

    @property
    def named(self) -> tuple[str, ...]:
        """The things that the user chose by name."""
        return (*self.encoder, *self.decoder, *self.dataset, *self.damage)

    def selection(self, inference: Inference, rounds: int | None = None) -> Selection:
        """The cells that these options choose."""
        from bench.pipeline.plan import CLEAN, Registries, Selection

        names = Registries()
        if not (self.main_job or self.named):
            raise UserError(
                "say what to measure: --all, or --encoder, --decoder, --dataset, --damage "
                f"({PROGRAM} list shows what there is)"
            )
        base = Selection.all(names)
        if not self.main_job:
            base = Selection(base.encoders[:1], base.decoders, (names.datasets.names()[0],))
        damages = _everything(self.damage, (CLEAN, *names.damages.names())) or base.damages
        if damages == (CLEAN,) and (self.severity or self.seed):
            raise UserError("--severity and --seed are of damages; add --damage NAMES")
        datasets = _everything(self.dataset, names.datasets.names()) or base.datasets
        endpoint = (("url", self.llm_url), ("model", self.llm_model))
        llm = [f"llm.{option}={value}" for option, value in endpoint if value is not None]
        options = typed([*self.options, *llm], names)
        encoders = _everything(self.encoder, names.encoders.names()) or base.encoders
        # A run is taken up only where the project file says the same of what it reads.
        for registry, chosen in ((names.encoders, encoders), (names.datasets, datasets)):
            for name in chosen:
                if stated := name in registry and registry.entry(name).stated:
                    options[name] = {**stated, **options.get(name, {})}
        return dataclasses.replace(
            base,
            encoders=encoders,
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

    return Rounds(least=count, least_s=0.0, most_s=math.inf)
