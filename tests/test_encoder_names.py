"""Encoders by name, and the checkpoints behind them on this disk: the Hub's cache, and folders."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from bench import ROOT
from bench.core.errors import Unavailable, UserError
from bench.core.options import parse_options, typed_options
from datasets import DATASETS
from decoders import DECODERS
from models import ENCODERS, hub
from models.trocr import TrOCRSpec
from tests.fake_hub import write
from tests.tiny_trocr import edit


def test_microsofts_checkpoints() -> None:
    for name, kind in (("trocr-small", "handwritten"), ("trocr-base-stage1", "stage1")):
        repo = f"microsoft/{name.removesuffix('-stage1')}-{kind}"
        assert ENCODERS.create(name).repo == repo
        with pytest.raises(UserError, match=f"{name} fixes repo"):
            ENCODERS.create(name, {"repo": "me/mine"})


@pytest.mark.parametrize("name", ["microsoft/trocr-base-str", "./my-model"])
def test_a_name_with_a_slash_is_a_checkpoint(name: str) -> None:
    assert name in ENCODERS and name not in ENCODERS.names()
    assert ENCODERS.create(name) == TrOCRSpec(name)
    options = typed_options(parse_options([f"{name}.revision=v1"]), (ENCODERS, DECODERS, DATASETS))
    assert ENCODERS.create(name, options[name]) == TrOCRSpec(name, revision="v1")


def test_a_name_without_one_is_looked_up() -> None:
    assert "trocr-bas" not in ENCODERS
    with pytest.raises(UserError, match="did you mean trocr-base"):
        ENCODERS.create("trocr-bas")
    with pytest.raises(UserError, match="did you mean mini"):
        ENCODERS.create("MINI")
    with pytest.raises(UserError, match=r"there are: mini, .*, any TrOCR of the Hub \(owner/name"):
        ENCODERS.create("zzz")
    with pytest.raises(UserError, match="no decoder is called 'a/b'"):
        DECODERS.create("a/b")


def test_what_the_list_says_of_one(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("list", "./nowhere")
    assert code == 0 and "missing: there is no folder ./nowhere" in out
    assert "-o ./nowhere.untrained=..." in out and "-o ./nowhere.repo" not in out


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        "for words in (['list'], ['data', 'list']):\n"
        "    try: main(words)\n"
        "    except SystemExit as left: assert left.code == 0\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trocr-large-stage1" in done.stdout and "data get trocr-base" in done.stdout


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("repo", "revision", "remedy"),
    [
        ("microsoft/trocr-base-handwritten", "main", "trocr-base"),
        ("someone/else", "a b", "--encoder someone/else --revision 'a b'"),
    ],
)
def test_the_remedy_is_one_command(
    cache: Path, repo: str, revision: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = hub.missing(repo, revision)
    assert missing is not None
    assert missing.remedy == f"python -m bench data get {remedy}"
    which = repo if revision == "main" else f"revision {revision} of {repo}"
    assert missing.reason == f"{which} is not in {cache}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert str(hub.missing(repo, revision)).count("HF_HUB_OFFLINE=0 python -m bench") == 1


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    folder = write(tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert hub.locate(str(folder)).weights.name == "model.safetensors"
    (folder / "model.safetensors").unlink()
    assert hub.locate(str(folder)).weights.name == "pytorch_model.bin"


@pytest.mark.parametrize(
    ("absent", "message", "remedy"),
    [
        ("config.json", "the model's configuration", "copy the whole checkpoint into it"),
        (
            "tokenizer.json",
            "tokenizer.json or vocab.json+merges.txt or sentencepiece.bpe.model",
            'processor.save_pretrained("FOLDER")',
        ),
        (
            "preprocessor_config.json",
            "the image processor",
            'processor = "microsoft/trocr-base-handwritten"',
        ),
        (
            "model.safetensors",
            "the weights (model.safetensors or model.safetensors.index.json or",
            "copy the whole checkpoint into it",
        ),
    ],
)
def test_what_a_folder_lacks_is_named(
    tmp_path: Path, absent: str, message: str, remedy: str
) -> None:
    folder = write(tmp_path / "partial", absent)
    with pytest.raises(Unavailable) as raised:
        hub.locate(str(folder))
    assert message in raised.value.reason and str(folder) in raised.value.reason
    assert remedy in raised.value.remedy


def cached(cache: Path, repo: str, *leave_out: str) -> Path:
    """A repository in the Hub's cache."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123456789abcdef")
    return write(folder / "snapshots" / "0123456789abcdef", *leave_out)


PARTS = ("tokenizer.json", "preprocessor_config.json")


def test_a_checkpoint_without_a_processor_has_that_of_its_base_model(
    tmp_path: Path, cache: Path
) -> None:
    folder, base = write(tmp_path / "tuned", *PARTS), cached(cache, "me/base")
    assert hub.missing(str(folder)) is not None
    edit(folder / "config.json", lambda config: config.update(_name_or_path="me/base"))
    found = hub.locate(str(folder))
    assert found.folder_of(hub.TOKENIZER) == found.folder_of(hub.IMAGES) == base
    assert found.notes == tuple(
        f"{part} is that of me/base@01234567, the model that its config.json names"
        for part in (hub.IMAGES, hub.TOKENIZER)
    )
    (folder / "tokenizer.json").write_text("{}")  # its own is read where it has one
    assert list(hub.locate(str(folder)).others) == [hub.IMAGES]


def test_the_processor_of_a_checkpoint_can_be_named(tmp_path: Path, cache: Path) -> None:
    folder, other = write(tmp_path / "tuned", *PARTS), write(tmp_path / "other")
    found = hub.locate(str(folder), processor=str(other))
    assert found.folder_of(hub.TOKENIZER) == other and "that of other, as the" in found.notes[0]
    absent = hub.missing(str(folder), processor="me/base")
    assert absent is not None and absent.remedy.endswith("data get --encoder me/base")
    cached(cache, "me/base", *PARTS)
    absent = hub.missing(str(folder), processor="me/base")
    assert absent is not None and "me/base lacks the image processor and the" in absent.reason


def test_the_folder_of_a_training_suggests_its_newest_checkpoint(tmp_path: Path) -> None:
    for step in (900, 1200, 50):
        write(tmp_path / "out" / f"checkpoint-{step}")
    absent = hub.missing(str(tmp_path / "out"))
    assert absent is not None and absent.remedy.endswith("out/checkpoint-1200")


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [
        ("./nowhere", "main", "there is no folder ./nowhere"),
        ("no such model", "main", "neither a folder nor a Hub id"),
        ("", "main", "neither a folder nor a Hub id"),
        (".", "v1", "is a folder and has no revision"),
    ],
)
def test_names_that_mean_nothing(repo: str, revision: str, message: str) -> None:
    missing = hub.missing(repo, revision)
    assert missing is not None and missing.remedy
    assert message in missing.reason


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
    absent: set[str] = set()

    def version(package: str) -> str:
        if package in absent:
            raise importlib.metadata.PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert hub.missing(str(folder)) is None
    absent.add("protobuf")
    assert "pip install protobuf" in str(hub.missing(str(folder)))
    (folder / "tokenizer.json").write_text("{}")
    assert hub.missing(str(folder)) is None, "a converted tokenizer needs neither"
