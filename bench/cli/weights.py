"""`python -m bench weights`: list and get the weights of encoders."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from huggingface_hub import constants

from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.core.errors import UserError
from bench.core.hub_fetch import size_of
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

_FORMATTER = argparse.RawDescriptionHelpFormatter


@dataclass(frozen=True)
class Found:
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


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "weights",
        help="list and get the weights of encoders",
        description="The weights of encoders that are not shipped: which there are, getting them.",
        epilog=_EPILOG,
        formatter_class=_FORMATTER,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", "which there are, their sizes, and which are here", _list)
    listing.add_argument("--json", action="store_true", help="for programs")
    getting = _action(actions, "get", "download and verify weights", _get)
    getting.add_argument("names", nargs="+", metavar="NAME", help="an encoder, or owner/name")
    getting.add_argument("--revision", metavar="REV", help="branch, tag or commit; default: main")


def _action(actions: Any, name: str, summary: str, do: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, epilog=_EPILOG, formatter_class=_FORMATTER
    )
    parser.set_defaults(handler=do)
    return parser


def _list(args: argparse.Namespace) -> int:
    found = list(_found())
    if args.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
        return 0
    print(f"cache: {constants.HF_HUB_CACHE}")
    width = max(len(one.name) for one in found)
    for one in found:
        mark = " " if one.commit else "-"
        state = f"{one.weights} @ {one.commit}" if one.commit else f"get it: {one.remedy}"
        refs = f" ({', '.join(one.refs)})" if one.refs else ""
        print(f"{mark} {one.name:<{width}}  {size_of(one.size):>8}  {state}{refs}")
    return 0


def _found() -> Iterator[Found]:
    """What is registered, here or not, and what else is here."""
    here: dict[str, list[Found]] = {}
    for checkpoint, refs in hub.cached():
        one = Found(
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
            yield from here.pop(spec.repo, [Found(name, spec.repo, size, remedy=remedy)])
    for others in here.values():
        yield from others


def _get(args: argparse.Namespace) -> int:
    if args.revision and len(args.names) > 1:
        raise UserError("--revision is of one model; get one at a time with it")
    specs = {name: _spec(name) for name in args.names}
    for name, spec in specs.items():
        _get_one(name, spec.repo, args.revision or spec.revision)
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
