"""Encoders by name, and the checkpoints behind them on this disk: the Hub's cache, and folders."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from bench import ROOT
from bench.cli import main
from bench.core.errors import Unavailable, UserError
from bench.core.options import parse_options, typed_options
from datasets import DATASETS
from decoders import DECODERS
from models import ENCODERS, hub
from models.trocr import TrOCRSpec
from tests.fake_hub import write


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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("repo", "revision", "remedy"),
    [
        ("microsoft/trocr-base-handwritten", "main", "trocr-base"),
        ("microsoft/trocr-large-printed", "main", "trocr-large-printed"),
        ("someone/else", "main", "someone/else"),
        ("someone/else", "v1", "someone/else --revision v1"),
        ("someone/else", "a b", "someone/else --revision 'a b'"),
    ],
)
def test_the_remedy_is_one_command(cache: Path, repo: str, revision: str, remedy: str) -> None:
    missing = hub.missing(repo, revision)
    assert missing is not None
    assert missing.remedy == f"python -m bench weights get {remedy}"
    which = repo if revision == "main" else f"revision {revision} of {repo}"
    assert missing.reason == f"{which} is not in {cache}"


def test_the_remedy_holds_where_the_hub_is_switched_off(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    missing = hub.missing("someone/else")
    assert missing is not None
    assert missing.remedy == "HF_HUB_OFFLINE=0 python -m bench weights get someone/else"


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    folder = write(tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert hub.locate(str(folder)).weights.name == "model.safetensors"
    (folder / "model.safetensors").unlink()
    assert hub.locate(str(folder)).weights.name == "pytorch_model.bin"


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        ("config.json", "the model's configuration (config.json)"),
        ("preprocessor_config.json", "preprocessor_config.json or processor_config.json"),
        ("tokenizer.json", "tokenizer.json or vocab.json+merges.txt or sentencepiece.bpe.model"),
        ("model.safetensors", "the weights (model.safetensors or model.safetensors.index.json or"),
    ],
)
def test_what_a_folder_lacks_is_told(tmp_path: Path, absent: str, told: str) -> None:
    folder = write(tmp_path / "partial", absent)
    with pytest.raises(Unavailable) as raised:
        hub.locate(str(folder))
    assert told in raised.value.reason and str(folder) in raised.value.reason
    assert raised.value.remedy == "copy the whole checkpoint into it"


def test_other_layouts_that_are_as_good(tmp_path: Path) -> None:
    folder = write(tmp_path / "other", "preprocessor_config.json", "tokenizer.json")
    for name in ("processor_config.json", "vocab.json"):
        (folder / name).write_text("{}")
    assert "the tokenizer" in str(hub.missing(str(folder)))
    (folder / "merges.txt").write_text("")
    assert hub.missing(str(folder)) is None


@pytest.mark.parametrize(
    ("repo", "revision", "told"),
    [
        ("./nowhere", "main", "there is no folder ./nowhere"),
        ("/no/such/place", "main", "there is no folder"),
        ("a/b/c", "main", "there is no folder"),
        ("no such model", "main", "neither a folder nor a Hub id"),
        ("owner/--bad--", "main", "neither a folder nor a Hub id"),
        ("", "main", "neither a folder nor a Hub id"),
        (".", "v1", "is a folder and has no revision"),
    ],
)
def test_names_that_mean_nothing(repo: str, revision: str, told: str) -> None:
    missing = hub.missing(repo, revision)
    assert missing is not None and missing.remedy
    assert told in missing.reason


def test_a_folder_is_named_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    for repo in ("mine", "./mine/", str(tmp_path / "mine"), "../" + tmp_path.name + "/mine"):
        assert hub.locate(repo).name == "mine"
        assert hub.locate(repo).folder == tmp_path / "mine"


def test_a_sentencepiece_file_needs_two_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "spm", "tokenizer.json")
    (folder / "sentencepiece.bpe.model").write_bytes(b"")
    installed = {"sentencepiece", "protobuf"}

    def version(package: str) -> str:
        if package not in installed:
            raise importlib.metadata.PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert hub.missing(str(folder)) is None
    for package in ("sentencepiece", "protobuf"):
        installed.remove(package)
        missing = hub.missing(str(folder))
        assert missing is not None
        assert missing.remedy == f"pip install {package}"
        installed.add(package)
    installed.clear()
    (folder / "tokenizer.json").write_text("{}")
    assert hub.missing(str(folder)) is None, "a converted tokenizer needs neither"
