"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.cli import main


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Run a command line: exit code, stdout, stderr."""

    def called(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return left.value.code, *capsys.readouterr()

    return called
