"""Options that several commands share, each declared once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.options import words
from bench.core.types import Runtime

WHAT = Group("what to measure", sort_key=1)
HOW = Group("how", sort_key=2)
RESULTS = Group("results", sort_key=3)


def _words(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    return words(token.value for token in tokens)


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

AllowLeak = Annotated[
    bool,
    Parameter(name="--allow-leak", help="go on where test lines stand in what is learned from"),
]

# `main` heeds it for every command with a parameter `data_root`.
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
        device: cpu, cuda, cuda:1, mps; default: cuda where it is there
        threads: of torch; default: its choice
    """

    device: str | None = None
    threads: int | None = None

    def runtime(self) -> Runtime:
        """The runtime of a cell; the machine decides what was left out."""
        import torch

        return Runtime(
            device=self.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            threads=torch.get_num_threads() if self.threads is None else self.threads,
        )


@Parameter(name="*", group=HOW)
@dataclasses.dataclass(frozen=True)
class Inference(Machine):
    """A machine, the precision and the size of a batch.

    Args:
        batch_size: lines that are encoded together
        dtype: float32, bfloat16 or float16
    """

    batch_size: int = 32
    dtype: str = "float32"

    def runtime(self) -> Runtime:
        """The runtime of a cell; the machine decides what was left out."""
        runtime = super().runtime()
        return dataclasses.replace(runtime, dtype=self.dtype, batch_size=self.batch_size)


def print_json(record: Any) -> None:
    """Print a record for programs."""
    print(json.dumps(plain(record), indent=2))
