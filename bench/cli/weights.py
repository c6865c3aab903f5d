"""Weights of encoders, for `python -m bench data list` and `data get`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from huggingface_hub import constants

from bench.cli.bars import Steps
from bench.cli.listing import fact
from bench.core.errors import UserError
from bench.core.hub import size_of
from bench.report.language import say
from models import ENCODERS, hub
from models.download import download
from models.trocr import TrOCRSpec
from models.trocr_shapes import SHAPES


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


def lines(listed: Sequence[Weights]) -> Iterator[str]:
    """Weights in words, a line each."""
    width = max(len(one.name) for one in listed)
    for one in listed:
        mark = " " if one.commit else "-"
        state = f"{one.weights} @ {one.commit}"
        if not one.commit:
            state = say("get it: {command}", command=one.remedy)
        refs = f" ({', '.join(one.refs)})" if one.refs else ""
        yield f"{mark} {one.name:<{width}}  {size_of(one.size):>8}  {state}{refs}"


def weights() -> Iterator[Weights]:
    """All weights of encoders that are on the Hub, with those of the cache in full."""
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
    for name in ENCODERS.entries:
        spec = ENCODERS.create(name)
        if isinstance(spec, TrOCRSpec):
            size = round(SHAPES[spec.shape].file_mb * 1e6)
            remedy = hub.download_command(spec.repo, spec.revision)
            yield from here.pop(spec.repo, [Weights(name, spec.repo, size, remedy=remedy)])
    for others in here.values():
        yield from others


def _spec(name: str) -> TrOCRSpec:
    spec = ENCODERS.create(name)
    if not isinstance(spec, TrOCRSpec):
        raise UserError(f"the weights of {name} are not on the Hub; there is nothing to get")
    return spec


def get(name: str, revision: str | None) -> None:
    """Download and verify the weights of an encoder.

    Args:
        name: a registered encoder, or owner/name of the Hub.
        revision: branch, tag or commit; None for the encoder's own.

    Raises:
        UserError: the weights are not on the Hub, or cannot be had from it.
    """
    spec = _spec(name)
    repo, revision = spec.repo, revision or spec.revision
    words = "{name}: {repo} of {hub}, revision {revision}"
    print(say(words, name=name, repo=repo, hub=constants.ENDPOINT, revision=revision), flush=True)
    try:
        with Steps(name) as steps:
            checkpoint = download(repo, revision, steps.report, spec.processor)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on from there") from None
    weights, commit = checkpoint.weights, checkpoint.folder.name
    print(f"  {fact('weights', f'{weights.name}, {size_of(checkpoint.size)}')}")
    print(f"  {fact('here', str(checkpoint.folder))}")
    words = "{commit}; -o {name}.revision={commit} pins it"
    print(f"  {fact('commit', say(words, commit=commit, name=name))}")
