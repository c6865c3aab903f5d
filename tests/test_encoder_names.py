"""Encoders by name: those of the list, and any checkpoint of the Hub or in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import ROOT
from bench.cli import main
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options
from datasets import DATASETS
from decoders import DECODERS
from models import ENCODERS
from models.trocr import TrOCRSpec


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_microsofts_checkpoints(size: str) -> None:
    for kind in ("handwritten", "stage1", "printed"):
        name = f"trocr-{size}" + ("" if kind == "handwritten" else f"-{kind}")
        assert ENCODERS.create(name).repo == f"microsoft/trocr-{size}-{kind}"
        with pytest.raises(UserError, match=f"{name} fixes repo"):
            ENCODERS.create(name, {"repo": "me/mine"})


@pytest.mark.parametrize("name", ["microsoft/trocr-base-str", "./my-model", "/models/x", "~/x.1/y"])
def test_a_name_with_a_slash_is_a_checkpoint(name: str) -> None:
    assert name in ENCODERS and name not in ENCODERS.names()
    assert ENCODERS.create(name) == TrOCRSpec(name)
    options = typed_options(parse_options([f"{name}.revision=v1"]), (ENCODERS, DECODERS, DATASETS))
    assert ENCODERS.create(name, options[name]) == TrOCRSpec(name, revision="v1")


def test_a_name_without_one_is_looked_up() -> None:
    assert "trocr-bas" not in ENCODERS
    with pytest.raises(UserError, match="did you mean trocr-base"):
        ENCODERS.create("trocr-bas")
    with pytest.raises(UserError, match=r"there are: mini, .*, any TrOCR of the Hub \(owner/name"):
        ENCODERS.create("zzz")
    with pytest.raises(UserError, match="no decoder is called 'a/b'"):
        DECODERS.create("a/b")


def test_what_the_list_says_of_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["list", "./nowhere"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "missing: there is no folder ./nowhere" in told
    assert "-o ./nowhere.untrained=..." in told and "-o ./nowhere.repo" not in told


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    for words in (["list"], ["weights", "list"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "trocr-large-stage1" in done.stdout
