"""Files of a checkpoint, in a local folder or in the Hub's cache on this disk.

Nothing is downloaded: `models.download` does that, and `locate` names the command.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.errors import Unavailable, UserError
from bench.core.files import content_hash
from bench.core.hub import MAIN, cached_snapshot, get_command
from bench.core.registry import need
from models import ENCODERS

_HUB_ID = re.compile(r"(?!.*(?:--|\.\.|\.git$))\b[\w.-]+\b/\b[\w.-]{1,96}\b", re.ASCII)
NAME_IT = (
    "name the model that has it: "
    'processor = "microsoft/trocr-base-handwritten" in the project file, or -o NAME.processor=...'
)
WHOLE, PPOCR = "vision-encoder-decoder", "pp_ocrv6_small_rec"  # model types
_SAVE = f'save it there with processor.save_pretrained("FOLDER"), or {NAME_IT}'

# Best first. Pickled weights are read by torch with weights_only=True.
_INDEX = ".index.json"  # of weights in several files
WEIGHTS = (
    "model.safetensors", f"model.safetensors{_INDEX}", "pytorch_model.bin",
    f"pytorch_model.bin{_INDEX}",
)  # fmt: skip

PROCESSING = ("size", "image_mean", "image_std")  # of images, which a checkpoint has to state
# transformers 5 writes the image processor into processor_config.json.
SENTENCEPIECE = "sentencepiece.bpe.model"
_TOKENIZERS = (
    ("tokenizer.json",), ("vocab.json", "merges.txt"), (SENTENCEPIECE,), ("vocab.txt",),
)  # fmt: skip
IMAGES, TOKENIZER = "the image processor", "the tokenizer"  # trainings often do not save them
# The parts of a checkpoint, each with its alternatives: all files of one have to be there.
NEEDED: Mapping[str, Sequence[Sequence[str]]] = {
    "the model's configuration": (("config.json",),),
    IMAGES: (("preprocessor_config.json",), ("processor_config.json",)),
    TOKENIZER: _TOKENIZERS,
    "the weights": tuple((name,) for name in WEIGHTS),
}


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on this disk.

    repo: Hub id, or the folder as the user named it; weights: the file, or the index of several.
    others: folders of parts (`IMAGES`, `TOKENIZER`) that it lacks and another checkpoint has.
    notes: where these are from, in words.
    """

    repo: str
    folder: Path
    weights: Path
    others: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def folder_of(self, part: str) -> Path:
        """The folder that a part is read from."""
        return self.others.get(part, self.folder)

    @property
    def name(self) -> str:
        """Its last component: "trocr-small-handwritten"."""
        return self.folder.name if is_path(self.repo) else self.repo.rpartition("/")[2]

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files that the weights are in."""
        return tuple(self.folder / name for name in weight_files(self.weights))

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(part.stat().st_size for part in self.parts)

    @property
    def digest(self) -> str:
        """Content hash of the weights; of several files a hash of theirs.

        Raises:
            UserError: a file is damaged (the Hub's cache names it by its hash).
        """
        hashes = [content_hash(part, 64) for part in self.parts]
        for part, digest in zip(self.parts, hashes, strict=True):
            stored = part.resolve()
            if re.fullmatch("[0-9a-f]{64}", stored.name) and stored.name != digest:
                raise UserError(
                    f"the weights of {self.repo} were damaged on this disk; delete {stored} and "
                    f"run: {download_command(self.repo, self.folder.name)}"
                )
        joined = hashlib.sha256(" ".join(digest[:16] for digest in hashes).encode()).hexdigest()
        return (hashes[0] if len(hashes) == 1 else joined)[:16]

    @property
    def origin(self) -> str:
        """Source of the checkpoint, "owner/name@commit"; "" for a folder."""
        return "" if is_path(self.repo) else f"{self.repo}@{self.folder.name}"


def locate(repo: str, revision: str = MAIN, processor: str = "") -> Checkpoint:
    """Find a VisionEncoderDecoder checkpoint on this disk, by its Hub id or folder.

    An image processor or tokenizer that it lacks is that of `processor` (Hub id or folder), else
    of the model in the Hub's cache that its configuration names as the one it was made from.

    Raises:
        Unavailable: it is not here, or not all of it, or it needs a package that is not here;
            the remedy is the one command that mends this.
    """
    if is_path(repo):
        folder, remedy = _local_folder(repo, revision), "copy the whole checkpoint into it"
    else:
        remedy = download_command(repo, revision)
        folder = _cached_folder(repo, revision, remedy)
    here = _files(folder)
    if "config.json" not in here and (child := _newest_child(folder)):
        raise Unavailable(f"{repo} is no checkpoint itself", f"give its newest: {repo}/{child}")
    others, notes = borrowed(repo, folder, here, processor)
    if absent := next(lacking(here, others), None):
        if absent.startswith((IMAGES, TOKENIZER)):
            remedy = _SAVE if is_path(repo) else NAME_IT
        raise Unavailable(f"{repo} is here only in part: {absent} is not in {folder}", remedy)
    words = _files(others.get(TOKENIZER, folder))
    if SENTENCEPIECE in words and not any(words.issuperset(way) for way in _TOKENIZERS[:2]):
        for package in ("sentencepiece", "protobuf"):
            need(package, f"the tokenizer of {repo}")
    weights = folder / best_weights(here)
    try:
        lost = [name for name in weight_files(weights) if name not in here]
    except UserError as error:
        raise Unavailable(str(error), remedy) from error
    if lost:
        raise Unavailable(
            f"{repo} is here only in part: {folder} lacks {' and '.join(lost)} of {weights.name}",
            remedy,
        )
    return Checkpoint(repo, folder, weights, others, notes)


def missing(repo: str, revision: str = MAIN, processor: str = "") -> Unavailable | None:
    """The reason for not using a checkpoint here, with the one command that mends it, or None."""
    try:
        locate(repo, revision, processor)
    except Unavailable as reason:
        return reason
    return None


def lacking(names: Collection[str], others: Collection[str] = ()) -> Iterator[str]:
    """Parts of a checkpoint that are not among files of these names, each with its files.

    `others` are parts that need not be among them.
    """
    for what, ways in NEEDED.items():
        if what not in others and not _has(names, what):
            yield f"{what} ({' or '.join('+'.join(way) for way in ways)})"


def _has(names: Collection[str], part: str) -> bool:
    return any(set(names).issuperset(way) for way in NEEDED[part])


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def _newest_child(folder: Path) -> str:
    """The last of the checkpoints that a training kept in a folder; "" without any."""
    kept = [path.parent.name for path in folder.glob("checkpoint-*/config.json")]
    return max(kept, key=lambda name: (len(name), name), default="")


def borrowed(
    repo: str, folder: Path, here: Collection[str], processor: str
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The folders of parts that a checkpoint lacks and another one has, with a note on each.

    `here` are the names of its files, in its folder or on the Hub. The processor is the Hub id or
    folder of the other one; "" for the one that config.json names.

    Raises:
        Unavailable: `processor` is not here, or lacks them too.
    """
    if _model_type(folder).startswith("pp_ocr"):  # its symbols stand in its image processor
        return {TOKENIZER: folder}, ()
    absent = [part for part in (IMAGES, TOKENIZER) if not _has(here, part)]
    if processor and not absent:
        other = Path(processor).name if is_path(processor) else processor
        return {}, (f"{IMAGES} and {TOKENIZER} are its own, not those of {other}",)
    source = absent and (processor or _base_model(folder))
    if not source:
        return {}, ()
    try:
        if is_path(source):
            place = _local_folder(source, MAIN)
        else:
            place = _cached_folder(source, MAIN, download_command(source, MAIN))
    except Unavailable:
        if processor:
            raise
        return {}, ()
    found = {part: place for part in absent if _has(_files(place), part)}
    if processor and (lost := [part for part in absent if part not in found]):
        remedy = _SAVE if is_path(repo) else NAME_IT
        raise Unavailable(f"{source} lacks {' and '.join(lost)}, as {repo} does", remedy)
    name = place.name if is_path(source) else f"{source}@{place.name[:8]}"
    why = "as the user chose" if processor else "the model that its config.json names"
    return found, tuple(f"{part} is that of {name}, {why}" for part in found)


def _model_type(folder: Path) -> str:
    try:
        return str(read_json(folder / "config.json").get("model_type"))
    except (OSError, UserError):
        return ""


def _base_model(folder: Path) -> str:
    """The Hub id of the model that a checkpoint was made from; "" where none is stated."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, UserError):
        return ""
    parts = (config, config.get("decoder"))
    names = [part.get("_name_or_path") for part in parts if isinstance(part, dict)]
    return next((n for n in names if isinstance(n, str) and _HUB_ID.fullmatch(n)), "")


def best_weights(names: Collection[str]) -> str:
    """The weights file to read among these, safetensors before pickles; one has to be there."""
    return next(name for name in WEIGHTS if name in names)


def weight_files(weights: Path) -> tuple[str, ...]:
    """The names of the files that weights are in: their own, or those of an index."""
    if not weights.name.endswith(_INDEX):
        return (weights.name,)
    parts = read_json(weights).get("weight_map")
    names = set(parts.values()) if isinstance(parts, dict) else set()
    if not names or any(not isinstance(n, str) or Path(n).name != n for n in names):
        raise UserError(f"{weights} does not name the files of the weights; fetch it again")
    return tuple(sorted(names))


def check_architecture(repo: str, folder: Path, kinds: Sequence[str] = (WHOLE,)) -> None:
    """Refuse a checkpoint of other model types, or without a decoder of text where it needs one.

    Raises:
        UserError: its config.json is damaged, or is that of another model.
    """
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in kinds:
        other = "give PaddlePaddle/PP-OCRv6_small_rec_safetensors"
        if kinds[0] != PPOCR:
            other = f"read it with -o ppocr.weights={repo}" if kind == PPOCR else "give a TrOCR"
        raise UserError(f"config.json of {repo} says model_type {kind}, not {kinds[0]}; {other}")
    if kind == PPOCR:
        return
    inner = config.get("decoder")
    decoder = inner.get("model_type") if isinstance(inner, dict) else None
    if not isinstance(decoder, str):
        raise UserError(f"config.json of {repo} does not say what its decoder is; fetch it again")
    if any(name.startswith("adapter_") for name in _files(folder)):
        raise UserError(
            f"{repo} has an adapter of PEFT beside its weights, which would be left out; merge it "
            "with merge_and_unload(), and save the result in another folder"
        )


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object of a checkpoint."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object; fetch it again")
    return content


def stated_processing(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The configuration of the image processor, in the old layout or the new one."""
    folder = checkpoint.folder_of(IMAGES)
    old, new = folder / "preprocessor_config.json", folder / "processor_config.json"
    nested = (read_json(new).get("image_processor") or {}) if new.is_file() else {}
    if not old.is_file():
        return nested
    stated = read_json(old)
    for key in PROCESSING:
        if key in stated and key in nested and stated[key] != nested[key]:
            raise UserError(
                f"{old.name} and {new.name} of {checkpoint.repo} disagree on {key}; remove the one "
                "that it was not trained with"
            )
    return stated


def registered_name(repo: str) -> str:
    """The name of a repository's encoder, registered or the user's own, else the repository."""
    entries = {**ENCODERS.entries, **ENCODERS.own}.items()
    return next((name for name, entry in entries if entry.options.get("repo") == repo), repo)


def is_path(repo: str) -> bool:
    """Recognise the name of a folder: one that is there, or a name that no Hub id can have."""
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
    """The snapshot of a revision in the Hub's cache."""
    if not _HUB_ID.fullmatch(repo):
        raise Unavailable(
            f"{repo!r} is neither a folder nor a Hub id", "give a name like owner/name"
        )
    return cached_snapshot(
        repo, revision, remedy, lambda folder: (folder / "config.json").is_file()
    )


def download_command(repo: str, revision: str) -> str:
    """The command that fetches a revision, in any environment."""
    name = registered_name(repo)
    # owner/name alone is a data set.
    return get_command(f"--encoder {name}" if "/" in name else name, revision)
