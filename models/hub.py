"""Where the files of a checkpoint are: a local folder, or the Hub's cache on this disk.

Nothing here downloads. What is not here is fetched by the Hub's own program, which shows progress,
keeps the files that are complete and obeys HF_HOME and HF_ENDPOINT; `locate` says with which
command.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from bench.errors import Unavailable

MAIN = "main"  # the branch that the Hub means when no revision is given

# Best first. Pickled weights are read by torch with weights_only=True.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")

# Each line is a way to say the same thing; one of them has to be there. transformers 5 writes the
# image processor into processor_config.json.
SENTENCEPIECE = "sentencepiece.bpe.model"
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), (SENTENCEPIECE,))
_NEEDED: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("the model's configuration", (("config.json",),)),
    ("the image processor", (("preprocessor_config.json",), ("processor_config.json",))),
    ("the tokenizer", _TOKENIZERS),
    ("the weights", tuple((name,) for name in WEIGHTS)),
)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on this disk.

    repo: Hub id, or the folder as it was given.
    folder: where its files are.
    weights: the weights file, safetensors when there is one.
    """

    repo: str
    folder: Path
    weights: Path

    @property
    def name(self) -> str:
        """Its last component: "trocr-small-handwritten"."""
        return self.folder.name if _is_path(self.repo) else self.repo.rpartition("/")[2]

    @property
    def origin(self) -> str:
        """From where it can be got again, "owner/name@commit"; "" for a folder."""
        return "" if _is_path(self.repo) else f"{self.repo}@{self.folder.name}"


def locate(repo: str, revision: str = MAIN) -> Checkpoint:
    """Find a VisionEncoderDecoder checkpoint on this disk.

    Args:
        repo: Hub id ("microsoft/trocr-small-handwritten") or local folder.
        revision: branch, tag or commit of a Hub repository.

    Raises:
        Unavailable: it is not here, or not all of it, or it needs a package that is not here;
            the remedy is the one command that mends this.
    """
    if _is_path(repo):
        folder, remedy = _local_folder(repo, revision), "copy the whole checkpoint into it"
    else:
        remedy = _download_command(repo, revision)
        folder = _cached_folder(repo, revision, remedy)
    for what, ways in _NEEDED:
        if not any(_has(folder, way) for way in ways):
            names = " or ".join("+".join(way) for way in ways)
            raise Unavailable(
                f"{repo} is here only in part: {what} ({names}) is not in {folder}", remedy
            )
    if _has(folder, (SENTENCEPIECE,)) and not any(_has(folder, way) for way in _TOKENIZERS[:2]):
        _require(repo, ("sentencepiece", "protobuf"))
    weights = next(folder / name for name in WEIGHTS if _has(folder, (name,)))
    return Checkpoint(repo, folder, weights)


def missing(repo: str, revision: str = MAIN) -> Unavailable | None:
    """Why a checkpoint cannot be used here, with the one command that would mend it, or None."""
    try:
        locate(repo, revision)
    except Unavailable as reason:
        return reason
    return None


def content_hash(path: Path, length: int = 16) -> str:
    """The first `length` hex digits of SHA-256 over a file's bytes.

    The same as the Hub's own hash of a large file.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:length]


def _is_path(repo: str) -> bool:
    """Whether a name means a folder: one that is there, or a name that no Hub id can have."""
    return bool(repo) and (
        repo.startswith(("/", ".", "~")) or repo.count("/") > 1 or Path(repo).is_dir()
    )


def _local_folder(repo: str, revision: str) -> Path:
    folder = Path(repo).expanduser().resolve()
    if not folder.is_dir():
        raise Unavailable(f"there is no folder {repo}", "give a Hub id or a folder that is there")
    if revision != MAIN:
        raise Unavailable(f"{repo} is a folder and has no revision", "leave the revision out")
    return folder


def _cached_folder(repo: str, revision: str, remedy: str) -> Path:
    """The snapshot of a revision in the Hub's cache.

    Raises:
        Unavailable: the name is no Hub id, or nothing of this revision is in the cache.
    """
    try:
        config = try_to_load_from_cache(repo, "config.json", revision=revision)
    except HFValidationError as error:
        raise Unavailable(
            f"{repo!r} is neither a folder nor a Hub id", "give a name like owner/name"
        ) from error
    if not isinstance(config, str):
        which = repo if revision == MAIN else f"revision {revision} of {repo}"
        raise Unavailable(f"{which} is not in {constants.HF_HUB_CACHE}", remedy)
    return Path(config).parent


def _download_command(repo: str, revision: str) -> str:
    offline = "HF_HUB_OFFLINE=0 " if constants.HF_HUB_OFFLINE else ""
    chosen = "" if revision == MAIN else f" --revision {shlex.quote(revision)}"
    return f"{offline}hf download {repo}{chosen}"


def _has(folder: Path, names: Sequence[str]) -> bool:
    return all((folder / name).is_file() for name in names)


def _require(repo: str, packages: Sequence[str]) -> None:
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise Unavailable(
                f"the tokenizer of {repo} needs the package {package}", f"pip install {package}"
            ) from error
