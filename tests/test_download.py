"""Fetching checkpoints from a Hub on this machine: real HTTP, a real cache, real processes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import ROOT
from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.hub import MAIN
from bench.core.progress import silent
from bench.core.types import Runtime
from models import hub
from models.download import download
from models.trocr import TrOCRSpec
from tests.fake_hub import FILES, FakeHub, serve, write
from tests.tiny_trocr import Kind, save_checkpoint

REPO = "tiny/trocr-small-handwritten"
WEIGHTS = "model.safetensors"
Call = Callable[..., tuple[object, str, str]]


@dataclass
class Home:
    """A user's HF_HOME and the Hub behind it."""

    path: Path
    server: FakeHub

    def bench(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "bench", *words],
            env={**self.environment(), **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))},
            "HF_HOME": str(self.path),
            "HF_ENDPOINT": self.server.url,
            "OMP_NUM_THREADS": "1",
        }

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for, and forget it."""
        requests = [r.rpartition("/")[2] for r in self.server.requests if r.startswith("GET /tiny")]
        self.server.requests.clear()
        return requests


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An empty cache, for this process and for others, and a Hub that has REPO."""
    path = tmp_path / "home"
    with serve(path / "hub", monkeypatch) as server:
        server.push(REPO, write(tmp_path / "repo"), "v1")
        yield Home(path, server)


def get(repo: str = REPO, revision: str = MAIN) -> hub.Checkpoint:
    return download(repo, revision, silent)


def remedy_of(repo: str, revision: str = MAIN) -> list[str]:
    """The words of the command that `missing` gives, after "python -m bench"."""
    missing = hub.missing(repo, revision)
    assert missing is not None
    return missing.remedy.removeprefix("python -m bench ").split()


def test_the_remedy_is_all_it_takes(home: Home, call: Call) -> None:
    code, out, err = call(*remedy_of(REPO))
    assert code == 0, err
    assert hub.missing(REPO) is None
    found = hub.locate(REPO)
    commit = home.server.repos[REPO]["main"]
    assert found.folder.name == commit and f"-o {REPO}.revision={commit} pins it" in out
    assert found.origin == f"{REPO}@{commit}"
    assert found.weights.read_bytes() == FILES[WEIGHTS]
    assert "downloading 3 MB" in err and "checking" in err
    # The blob of a large file is named by its SHA-256 in the Hub's cache.
    assert found.weights.resolve().name.startswith(content_hash(found.weights))
    assert {path.name for path in found.folder.iterdir()} == set(FILES)
    asked = len(home.server.requests)
    assert hub.missing(REPO) is None
    assert len(home.server.requests) == asked, "looking for a checkpoint asks nobody"


def test_what_is_here_is_not_fetched_again(home: Home) -> None:
    get()
    assert sorted(home.fetched()) == sorted(FILES)
    get()
    assert home.fetched() == []


def test_a_revision_by_its_tag_by_its_commit_and_a_branch_that_moved_on(
    home: Home, tmp_path: Path
) -> None:
    commit = home.server.repos[REPO]["v1"]
    assert remedy_of(REPO, "v1") == ["data", "get", "--encoder", REPO, "--revision", "v1"]
    assert get(revision="v1").folder == get(revision=commit).folder
    assert hub.missing(REPO) is not None, "main has not been fetched"
    (write(tmp_path / "new") / WEIGHTS).write_bytes(b"better")
    home.server.push(REPO, tmp_path / "new")
    assert get().weights.read_bytes() == b"better"
    assert hub.locate(REPO, commit).weights.read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({WEIGHTS, "pytorch_model.bin"}, WEIGHTS),
        ({"pytorch_model.bin"}, "pytorch_model.bin"),
    ],
)
def test_safetensors_or_pickled_weights_never_both_and_nothing_else(
    home: Home, tmp_path: Path, files: set[str], expected: str
) -> None:
    folder = write(tmp_path / "other", WEIGHTS)
    for name in {*files, "tf_model.h5", "flax_model.msgpack", "training_args.bin", "evil.py"}:
        (folder / name).write_bytes(os.urandom(50_000))
    home.server.push("tiny/other", folder)
    found = get("tiny/other")
    assert found.weights.name == expected
    assert set(home.fetched()) == {*FILES} - {WEIGHTS} | {expected}


def test_weights_in_several_files_are_fetched_by_their_index(home: Home, tmp_path: Path) -> None:
    folder = write(tmp_path / "parts", WEIGHTS)
    index = folder / f"{WEIGHTS}.index.json"
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    index.write_text(json.dumps({"weight_map": parts}))
    for name in (*parts.values(), "model-3.safetensors"):
        (folder / name).write_bytes(os.urandom(50_000))
    home.server.push("tiny/parts", folder)
    found = get("tiny/parts")
    assert [part.name for part in found.parts] == sorted(parts.values()) and found.size == 100_000
    assert set(home.fetched()) == {*FILES, index.name, *parts.values()} - {WEIGHTS}
    (folder / "model-2.safetensors").unlink()
    home.server.push("tiny/parts", folder)
    with pytest.raises(
        UserError, match=r"lacks model-2\.safetensors of its model\.safetensors\.ind"
    ):
        get("tiny/parts")


def test_a_killed_download_is_no_checkpoint_and_goes_on(home: Home) -> None:
    home.server.stall.add(WEIGHTS)
    with subprocess.Popen(
        [sys.executable, "-m", "bench", *remedy_of(REPO)],
        env=home.environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert home.server.stalled.wait(60)
        partial = (home.path / "hub").glob("*/blobs/*.partial")
        size = len(FILES[WEIGHTS])
        while not (found := next(partial, None)) or found.stat().st_size < size // 3:
            assert process.poll() is None
            threading.Event().wait(0.02)
            partial = (home.path / "hub").glob("*/blobs/*.partial")
        with pytest.raises(UserError, match="fetched by another process"):
            get()
        process.kill()
    home.server.stall.clear()
    home.server.resume.set()
    missing = hub.missing(REPO)
    assert missing is not None
    assert missing.reason == f"{REPO} is only partly in {home.path}/hub"
    home.fetched()
    home.server.ranges.clear()
    done = home.bench(*remedy_of(REPO))
    assert done.returncode == 0, done.stderr
    assert hub.locate(REPO).weights.read_bytes() == FILES[WEIGHTS]
    assert home.fetched() == [WEIGHTS]
    assert len(home.server.ranges) == 1 and home.server.ranges[0] >= size // 3
    assert list((home.path / "hub").glob("*/blobs/*.partial")) == []


@pytest.mark.parametrize("whole", [False, True])  # without ranges the whole file comes again
def test_a_broken_connection_is_taken_up_again(home: Home, whole: bool) -> None:
    home.server.cuts[WEIGHTS], home.server.whole = 3 - 2 * whole, whole
    assert get().weights.read_bytes() == FILES[WEIGHTS]
    assert home.server.ranges == sorted(home.server.ranges)
    assert len(home.server.ranges) == 3 - 2 * whole


@pytest.mark.parametrize(
    ("most", "whole", "message"),
    [
        (1000, False, r"sent 1 kB of 3 MB .* and nothing more; .* again"),
        (0, True, r"sent 0 B of 3 MB .* and nothing more; .* again"),
        (300_000_000, False, "arrived damaged and was removed"),
    ],
)
def test_a_server_that_sends_too_little_or_without_end_is_left(
    home: Home, most: int, whole: bool, message: str
) -> None:
    home.server.most, home.server.whole = most, whole
    seen: list[float] = []
    with pytest.raises(UserError, match=message):
        download(REPO, MAIN, lambda doing, done, total: seen.append(done))
    assert home.fetched().count(WEIGHTS) <= 5 and max(seen, default=0) < 4_000_000
    home.server.most = None
    assert get().weights.read_bytes() == FILES[WEIGHTS]


def test_damaged_weights_are_told_and_not_kept(home: Home) -> None:
    home.server.spoilt.add(WEIGHTS)
    with pytest.raises(UserError, match="arrived damaged and was removed"):
        get()
    assert hub.missing(REPO) is not None
    assert not list((home.path / "hub").glob("*/blobs/*.partial"))
    home.server.spoilt.clear()
    assert get().weights.read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((403, "GatedRepo"), "accept them on http://.*/tiny/shut and log in with `hf auth login`"),
        ((401, ""), "there is no model tiny/shut on http.*, or it is private; check its name"),
        ((403, ""), r"does not let you have tiny/shut \(403\); log in"),
        ((503, ""), r"busy or out of order \(503\); try again later"),
        ((418, ""), r"refuses to give tiny/shut \(418\)"),
    ],
)
def test_refusals_of_the_hub_are_one_sentence(
    home: Home, refusal: tuple[int, str], message: str
) -> None:
    home.server.refusals["tiny/shut"] = refusal
    with pytest.raises(UserError, match=message) as raised:
        get("tiny/shut")
    assert "\n" not in str(raised.value)


def test_names_and_revisions_that_are_not_there(home: Home, tmp_path: Path) -> None:
    for repo, revision, message in (
        ("tiny/typo", "main", "there is no model tiny/typo"),
        (REPO, "nope", "has no revision nope; take one of http.*/commits/main"),
        ("a/--b--", "main", "'a/--b--' is no Hub id"),
        (str(tmp_path), "main", "is a folder; there is nothing to fetch"),
    ):
        with pytest.raises(UserError, match=message):
            get(repo, revision)


def test_a_repository_that_is_no_trocr_is_refused_before_its_weights(
    home: Home, tmp_path: Path
) -> None:
    folder = write(tmp_path / "bert")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    home.server.push("tiny/bert", folder)
    with pytest.raises(UserError, match="says model_type bert"):
        get("tiny/bert")
    home.server.push("tiny/empty", write(tmp_path / "empty", WEIGHTS))
    with pytest.raises(UserError, match=r"it lacks the weights \(model.safetensors or"):
        get("tiny/empty")
    assert home.fetched() == ["config.json"]


def test_a_checkpoint_without_its_tokenizer_is_fetched_where_another_has_one(
    home: Home, tmp_path: Path, call: Call
) -> None:
    home.server.push("tiny/tuned", write(tmp_path / "tuned", "tokenizer.json"))
    code, _, err = call("data", "get", "--encoder", "tiny/tuned")
    assert code == 2 and "tiny/tuned lacks the tokenizer" in err
    assert 'processor = "microsoft/' in err
    assert not any(name == WEIGHTS for name in home.fetched())
    project = tmp_path / "kaidoku.toml"
    project.write_text(f'[encoders.own]\nhub = "tiny/tuned"\nprocessor = "{REPO}"\n')
    own = ("data", "get", "own", "--project", str(project))
    code, _, err = call(*own)
    assert code == 2 and f"data get --encoder {REPO}" in err
    get()
    code, _, err = call(*own)
    assert code == 0, err
    assert hub.missing("tiny/tuned", processor=REPO) is None


def test_no_network_and_no_hub_at_this_address(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.server.repos.clear()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = home.bench("data", "get", "trocr-base", HF_ENDPOINT=nobody)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {nobody} cannot be reached (")
    assert "HF_ENDPOINT" in done.stderr and "Traceback" not in done.stderr

    def no_json(*args: Any, **kwargs: Any) -> None:
        raise json.JSONDecodeError("Expecting value", "<html>", 0)

    monkeypatch.setattr("models.download.HfApi.model_info", no_json)
    with pytest.raises(UserError, match="does not answer as the Hub does; check HF_ENDPOINT"):
        get()


def test_offline_mode_is_obeyed(home: Home) -> None:
    done = home.bench("data", "get", "trocr-base", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "run: HF_HUB_OFFLINE=0 python -m bench data get trocr-base" in done.stderr
    assert home.server.requests == []


def test_a_full_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(UserError, match=r"needs 3 MB more, and .* has 1 MB free; make room or"):
            get()
    with monkeypatch.context() as patch:
        patch.setattr("bench.core.hub._stream", full)
        with pytest.raises(UserError, match=r"no space left in .*; make room or set HF_HOME"):
            get()
    assert get().weights.read_bytes() == FILES[WEIGHTS]


def full(url: str, out: Any, size: int, seen: Any) -> None:
    """What a write to a full device raises, from such a device."""
    with Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")


@pytest.mark.parametrize(("kind", "pickled"), [("small", True), ("base", False)])
def test_a_fetched_checkpoint_is_read_without_a_network(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, pickled: bool
) -> None:
    model = save_checkpoint(tmp_path / "real", kind, pickled=pickled)
    commit = home.server.push("tiny/real", tmp_path / "real")
    get("tiny/real")
    attempts: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *args: attempts.append(args))
    encoder = TrOCRSpec("tiny/real").open(Runtime())
    assert (encoder.info.name, encoder.info.origin) == ("real", f"tiny/real@{commit}")
    file = tmp_path / "real" / ("pytorch_model.bin" if pickled else WEIGHTS)
    assert encoder.info.weights == content_hash(file)
    batch = encoder.prepare([np.full((40, 300), 200, np.uint8)])
    expected = model.encoder(batch).last_hidden_state
    assert torch.allclose(encoder.encode(batch).states, expected, atol=1e-5)
    assert attempts == []


def test_from_the_hub_to_a_row(
    home: Home, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.report.output.write", lambda *_, **__: [])  # plots take seconds
    save_checkpoint(tmp_path / "real", "small", pickled=True)
    commit = home.server.push("tiny/real", tmp_path / "real")
    words = ["run", "--encoder", "tiny/real", "--decoder", "ar-greedy", "--limit", "2"]
    words += ["-o", "ar-greedy.max_new_tokens=9", "--rounds", "1"]
    get("tiny/real")
    home.server.requests.clear()
    code, _, err = call(*words, "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert home.server.requests == []
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").open()]
    assert (row["encoder"], row["status"]) == ("tiny/real", "ok")
    assert row["extras"]["encoder_origin"] == f"tiny/real@{commit}" and row["cer"] is not None
