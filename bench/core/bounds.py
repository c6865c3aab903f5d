"""Types of whole and bounded numbers, which the command line checks where it reads them."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import CoercionError, Parameter, Token
from cyclopts.validators import Number

_WHOLE = re.compile(r"[+-]?\d+(?:\.0)?")  # 1e3 in a project file arrives as 1000.0


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """Convert a whole number; cyclopts itself would round one (1.5 to 2)."""
    text = tokens[-1].value.strip()
    if not _WHOLE.fullmatch(text):
        raise CoercionError(token=tokens[-1], target_type=int)
    return int(text.removesuffix(".0"))


Whole = Annotated[int, Parameter(converter=_whole)]
_MOST = 2**31 - 1  # what Python's and torch's own counters hold everywhere
Count = Annotated[Whole, Parameter(validator=Number(gte=1, lte=_MOST))]
Natural = Annotated[Whole, Parameter(validator=Number(gte=0, lte=_MOST))]
Positive = Annotated[float, Parameter(validator=Number(gt=0))]
Share = Annotated[float, Parameter(validator=Number(gt=0, lte=1))]
Part = Annotated[float, Parameter(validator=Number(gte=0, lt=1))]
