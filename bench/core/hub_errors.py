"""What the Hub and the network refuse, in sentences that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from huggingface_hub import constants, errors

from bench.core.errors import UserError

# What the library raises that speaks HTTP for huggingface_hub; its name changes with the version.
NETWORK: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Kind = Literal["model", "dataset"]  # of a repository, as the Hub calls it
_NAMES: dict[Kind, tuple[str, str]] = {"model": ("", "model"), "dataset": ("datasets/", "data set")}

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@contextmanager
def plain_errors(repo: str, revision: str, kind: Kind = "model") -> Iterator[None]:
    """Turn what goes wrong with a repository of the Hub into a `UserError`.

    Foreign servers and proxies can answer anything; the cause stays chained for --traceback.
    """
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is no Hub id; give a name like owner/name") from error
    except (errors.HfHubHTTPError, NETWORK, OSError, ValueError) as error:
        raise UserError(_sentence(error, repo, revision, kind)) from error


def _sentence(error: Exception, repo: str, revision: str, kind: Kind) -> str:
    folder, noun = _NAMES[kind]
    page = f"{constants.ENDPOINT}/{folder}{repo}"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is given out on conditions; accept them on {page} and {_LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) == 401:
        return (
            f"there is no {noun} {repo} on {constants.ENDPOINT}, or it is private; "
            f"check its name, or {_LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision}; take one of {page}/commits/main"
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(_status(error), repo)
    if isinstance(error, NETWORK):
        return (
            f"{constants.ENDPOINT} cannot be reached ({_words(error)}); check the network and "
            "HF_ENDPOINT, then give the same command again: it goes on where it stopped"
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return (
            f"no space left in {constants.HF_HUB_CACHE}; make room or set HF_HOME to a larger "
            "disk, then give the same command again: it goes on where it stopped"
        )
    if isinstance(error, PermissionError):
        return f"no permission to write to {error.filename}; set HF_HOME to a folder of yours"
    if isinstance(error, ValueError):
        return f"{constants.ENDPOINT} does not answer as the Hub does; check HF_ENDPOINT"
    return f"{repo} could not be fetched ({_words(error)}); try again"


def _refusal(status: int, repo: str) -> str:
    """What an answer means that has no name of its own."""
    if status == 403:
        return f"{constants.ENDPOINT} does not let you have {repo} (403); {_LOG_IN}"
    if status == 429 or status >= 500:
        return f"{constants.ENDPOINT} is busy or out of order ({status}); try again later"
    return f"{constants.ENDPOINT} refuses to give {repo} ({status}); check HF_ENDPOINT"


def _status(error: Exception) -> int:
    """The status of the answer; 0 when there was none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
