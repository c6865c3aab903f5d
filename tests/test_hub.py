"""Finding checkpoints, and fetching them with the very command that `missing` gives."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from bench import ROOT
from bench.errors import Unavailable
from bench.types import Runtime
from models import hub
from models.trocr import TrOCRSpec
from tests.fake_hub import FakeHub, serve
from tests.tiny_trocr import save_checkpoint

REPO = "tiny/trocr-small-handwritten"
FILES = {
    "config.json": b'{"model_type": "vision-encoder-decoder"}',
    "generation_config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": os.urandom(300_000),
}


@dataclass
class Home:
    """A user's HF_HOME and the Hub behind it."""

    path: Path
    server: FakeHub

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        words, environment = self.command(command)
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def command(self, command: str) -> tuple[list[str], dict[str, str]]:
        """The command with the program that lies beside this Python, and its environment."""
        program, *arguments = shlex.split(command)
        found = shutil.which(program, path=sysconfig.get_path("scripts"))
        assert found, f"{program} is not installed along with huggingface_hub"
        return [found, *arguments], {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))},
            "HF_HOME": str(self.path),
            "HF_ENDPOINT": self.server.url,
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }


def write(folder: Path, *leave_out: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        if name not in leave_out:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An empty cache, for this process and for `hf`, and a Hub that has REPO."""
    path = tmp_path / "home"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(path / "hub"))
    with serve(FakeHub()) as server:
        server.push(REPO, write(tmp_path / "repo"), "v1")
        yield Home(path, server)


def remedy_of(repo: str, revision: str = hub.MAIN) -> str:
    missing = hub.missing(repo, revision)
    assert missing is not None
    return missing.remedy


def test_the_remedy_is_all_it_takes(home: Home) -> None:
    missing = hub.missing(REPO)
    assert missing is not None
    assert missing.reason == f"{REPO} is not in {home.path}/hub"
    assert missing.remedy == f"hf download {REPO}"
    done = home.run(missing.remedy)
    assert done.returncode == 0, done.stderr
    assert hub.missing(REPO) is None
    found = hub.locate(REPO)
    assert found.name == "trocr-small-handwritten"
    assert found.folder.name == home.server.repos[REPO]["main"]
    assert found.weights.read_bytes() == FILES["model.safetensors"]
    # The blob of a large file is named by its SHA-256 in the Hub's cache.
    assert found.weights.resolve().name.startswith(hub.content_hash(found.weights))
    asked = len(home.server.requests)
    assert hub.missing(REPO) is None
    assert len(home.server.requests) == asked, "looking for a checkpoint asks nobody"


def test_a_revision_by_its_tag_and_by_its_commit(home: Home) -> None:
    commit = home.server.repos[REPO]["v1"]
    assert remedy_of(REPO, "v1") == f"hf download {REPO} --revision v1"
    assert home.run(remedy_of(REPO, "v1")).returncode == 0
    assert hub.locate(REPO, "v1").folder == hub.locate(REPO, commit).folder
    missing = hub.missing(REPO)
    assert missing is not None, "main has not been fetched"
    assert missing.remedy == f"hf download {REPO}"


def test_a_revision_that_is_not_there(home: Home) -> None:
    assert home.run(f"hf download {REPO}").returncode == 0
    missing = hub.missing(REPO, "nope")
    assert missing is not None
    assert missing.reason.startswith(f"revision nope of {REPO} is not in ")
    done = home.run(missing.remedy)
    assert done.returncode == 1
    assert "Revision not found" in done.stdout + done.stderr
    assert hub.missing(REPO, "nope") is not None


def test_a_killed_download_is_no_checkpoint_and_goes_on(home: Home) -> None:
    home.server.stall.add("model.safetensors")
    words, environment = home.command(remedy_of(REPO))
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        assert home.server.stalled.wait(30)
        others = len(FILES) - 1
        while len(list((home.path / "hub").glob("*/snapshots/*/*"))) < others:
            assert process.poll() is None
            threading.Event().wait(0.02)
        process.kill()
    home.server.stall.clear()
    home.server.resume.set()
    missing = hub.missing(REPO)
    assert missing is not None
    assert missing.reason.startswith(f"{REPO} is here only in part: the weights ")
    home.server.requests.clear()
    assert home.run(missing.remedy).returncode == 0
    assert hub.locate(REPO).weights.read_bytes() == FILES["model.safetensors"]
    fetched = [request for request in home.server.requests if request.startswith("GET /tiny")]
    assert [request.rpartition("/")[2] for request in fetched] == ["model.safetensors"]


def test_a_fetched_checkpoint_is_read_without_a_network(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As trocr-small-handwritten is on the Hub: pickled weights only."""
    model = save_checkpoint(tmp_path / "real", "small", pickled=True)
    commit = home.server.push("tiny/real", tmp_path / "real")
    assert home.run(remedy_of("tiny/real")).returncode == 0
    attempts: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *args: attempts.append(args))
    for revision in ("main", commit):
        encoder = TrOCRSpec("tiny/real", revision).open(Runtime())
        assert encoder.info.name == "real"
        assert encoder.info.weights == hub.content_hash(tmp_path / "real" / "pytorch_model.bin")
        batch = encoder.prepare([np.full((40, 300), 200, np.uint8)])
        expected = model.encoder(batch).last_hidden_state
        assert torch.allclose(encoder.encode(batch).states, expected, atol=1e-5)
    assert attempts == []


def test_another_process_obeys_hf_home_and_says_when_it_is_offline(home: Home) -> None:
    _, environment = home.command("hf")
    code = f"from models import hub; print(hub.missing({REPO!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        f"{REPO} is not in {home.path}/hub (HF_HUB_OFFLINE=0 hf download {REPO})"
    )
    assert home.server.requests == []


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
        ("model.safetensors", "the weights (model.safetensors or pytorch_model.bin)"),
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


def test_content_hash(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    path = tmp_path / "weights"
    path.write_bytes(data)
    assert hub.content_hash(path) == hashlib.sha256(data).hexdigest()[:16]
    assert hub.content_hash(path, length=64) == hashlib.sha256(data).hexdigest()
    path.write_bytes(data[:-1])
    assert hub.content_hash(path) != hashlib.sha256(data).hexdigest()[:16]


def test_listing_checkpoints_needs_no_torch() -> None:
    code = "import models.trocr, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
