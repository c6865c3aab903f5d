"""Downloads of checkpoints from the Hub: only the files that are read, the weights verified.

The small files come by `hf_hub_download`, the weights by `bench.core.hub`, into one cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

from bench.core.errors import Unavailable, UserError
from bench.core.hub import check_online, fetch, plain_hub_errors
from bench.core.progress import Report
from models import hub

# Read if present; `hub.NEEDED` has to be.
_OPTIONAL = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "README.md",
)


def download(repo: str, revision: str, report: Report, processor: str = "") -> hub.Checkpoint:
    """Fetch the missing files of a revision; goes on where an earlier download stopped.

    The revision is resolved to a commit first, and all files are of it. Progress is in bytes.
    `processor` is that of `hub.locate`; it has to be here.

    Raises:
        UserError: the Hub refuses it or cannot be reached, no model that is read here, a full disk.
        Unavailable: image processor or tokenizer are neither in it nor elsewhere.
    """
    if hub.is_path(repo):
        raise UserError(f"{repo} is a folder; there is nothing to fetch")
    check_online(repo, hub.download_command(repo, revision))
    disable_progress_bars()  # of huggingface_hub; ours is drawn
    with plain_hub_errors(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        commit, files = str(info.sha), {file.rfilename: file for file in info.siblings or ()}
        if absent := next(hub.lacking(files, (hub.IMAGES, hub.TOKENIZER)), None):
            raise UserError(f"{repo} is no TrOCR that can be read here: it lacks {absent}")
        folder = Path(hf_hub_download(repo, "config.json", revision=commit)).parent
        hub.check_architecture(repo, folder, (hub.WHOLE, hub.PPOCR))
        others, _ = hub.borrowed(repo, folder, files, processor)
        if absent := next(hub.lacking(files, others), None):
            raise Unavailable(f"{repo} lacks {absent}", hub.NAME_IT)
        for name in _small(files):
            hf_hub_download(repo, name, revision=commit)
        weights = files[hub.best_weights(files)]
        for name in hub.weight_files(fetch(repo, commit, weights, report)):
            if name not in files:
                raise UserError(f"{repo} lacks {name} of its {weights.rfilename}")
            fetch(repo, commit, files[name], report)
        # Asked by branch, it notes the branch's commit in the cache.
        hf_hub_download(repo, "config.json", revision=revision)
    return hub.locate(repo, revision, processor)


def _small(files: Mapping[str, Any]) -> list[str]:
    """All files to fetch but the weights."""
    ways = [way for what in hub.NEEDED.values() for way in what]
    names = {*_OPTIONAL, *(name for way in ways for name in way)} - set(hub.WEIGHTS)
    return sorted(names & set(files))
