"""`python -m bench weights`: list and get the weights of encoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter
from huggingface_hub import constants

from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.cli.options import Json, print_json
from bench.core.errors import UserError
from bench.core.hub import size_of
from models import ENCODERS, hub
from models.download import download
from models.trocr import TrOCRSpec
from models.trocr_shapes import SHAPES

_EPILOG = f"""\
examples:
  {PROGRAM} weights list                        which there are, their sizes, and which are here
  {PROGRAM} weights get trocr-base              download, verify, and say which commit it is
  {PROGRAM} weights get trocr-small trocr-large
  {PROGRAM} weights get trocr-base --revision refs/pr/3
  {PROGRAM} weights get owner/name              any other TrOCR of the Hub
  {PROGRAM} run --encoder owner/name --dataset lines --limit 20
  {PROGRAM} run --encoder ./my-model            a folder needs no getting

Weights go to the Hub's own cache ($HF_HOME), where other programs find them too. Safetensors are
taken where there are any, pickled weights otherwise, never both. A download that was stopped goes
on where it stopped. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are obeyed.
"""

app = App(
    name="weights",
    help="The weights of encoders that are not shipped: which there are, getting them.",
    help_epilogue=_EPILOG,
)


@dataclass(frozen=True)
class Weights:
    """Weights of an encoder.

    size: bytes of the weights file; of what is not here, computed from the architecture.
    commit: of the Hub, "" for what is not here.
    refs: branches and tags that mean this commit here.
    remedy: what would bring it here.
    """

    name: str
    repo: str
    size: int
    commit: str = ""
    refs: tuple[str, ...] = ()
    folder: str = ""
    weights: str = ""
    remedy: str = ""


@app.command(name="list")
def show(*, as_json: Json = False) -> int:
    """List which there are, their sizes, and which are here."""
    listed = list(_weights())
    if as_json:
        print_json([dataclasses.asdict(one) for one in listed])
        return 0
    print(f"cache: {constants.HF_HUB_CACHE}")
    width = max(len(one.name) for one in listed)
    for one in listed:
        mark = " " if one.commit else "-"
        state = f"{one.weights} @ {one.commit}" if one.commit else f"get it: {one.remedy}"
        refs = f" ({', '.join(one.refs)})" if one.refs else ""
        print(f"{mark} {one.name:<{width}}  {size_of(one.size):>8}  {state}{refs}")
    return 0


def _weights() -> Iterator[Weights]:
    here: dict[str, list[Weights]] = {}
    for checkpoint, refs in hub.cached():
        one = Weights(
            name=hub.registered_name(checkpoint.repo),
            repo=checkpoint.repo,
            size=checkpoint.size,
            commit=checkpoint.folder.name,
            refs=refs,
            folder=str(checkpoint.folder),
            weights=checkpoint.weights.name,
        )
        here.setdefault(checkpoint.repo, []).append(one)
    for name in ENCODERS.names():
        spec = ENCODERS.create(name)
        if isinstance(spec, TrOCRSpec):
            size = round(SHAPES[spec.shape].file_mb * 1e6)
            remedy = hub.download_command(spec.repo, spec.revision)
            yield from here.pop(spec.repo, [Weights(name, spec.repo, size, remedy=remedy)])
    for others in here.values():
        yield from others


@app.command
def get(*name: Annotated[str, Parameter(required=True)], revision: str | None = None) -> int:
    """Download and verify weights.

    Args:
        name: encoders, or owner/name
        revision: branch, tag or commit; default: main
    """
    if revision and len(name) > 1:
        raise UserError("--revision is of one model; get one at a time with it")
    for one, spec in [(one, _spec(one)) for one in name]:
        _get_one(one, spec.repo, revision or spec.revision)
    return 0


def _spec(name: str) -> TrOCRSpec:
    spec = ENCODERS.create(name)
    if not isinstance(spec, TrOCRSpec):
        raise UserError(f"the weights of {name} are not on the Hub; there is nothing to get")
    return spec


def _get_one(name: str, repo: str, revision: str) -> None:
    print(f"{name}: {repo} of {constants.ENDPOINT}, revision {revision}", flush=True)
    try:
        with Steps(name) as steps:
            checkpoint = download(repo, revision, steps.report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on from there") from None
    weights, commit = checkpoint.weights, checkpoint.folder.name
    print(f"  weights  {weights.name}, {size_of(checkpoint.size)}")
    print(f"  here     {checkpoint.folder}")
    print(f"  commit   {commit}; -o {name}.revision={commit} pins it")
