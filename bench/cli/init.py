"""`python -m bench init`: a project file with the models and data that are found."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import App, Parameter

from bench import ROOT
from bench.cli import PROGRAM
from bench.cli.options import Lang
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.project import NAME
from bench.report.format import commas
from bench.report.language import say, say_text
from datasets import DATASETS

app = App(
    name="init",
    help_epilogue=f"""\
examples:
  {PROGRAM} init                       look in this folder and below it
  {PROGRAM} init --at ~/IAM --at /data/checkpoints

Found are TrOCR checkpoints, IAM, CVL, TrOCR's image folders (gt_test.txt beside image/), and n-gram
models (ARPA, KenLM).
""",
)

_DEPTH = 4  # of folders below the one that is looked at
_OURS = {"bench", "build", "datasets", "decoders", "docs", "models", "results", "tests"}
_HEAD = f"""\
# Written by `{PROGRAM} init`. Tables show these names, so change them as you like;
# kaidoku.example.toml shows what else this file can have."""
_SIZES = {
    "384": "small",
    "768": "base",
    "1024": "large",
}  # of TrOCRs, by the width of their encoders


class Find(NamedTuple):
    """A model or data set that was found.

    table, name: its place in the project file.
    words: what it is, for the user.
    kind: of a set.
    key: option that has the path.
    lines: further lines of its table.
    """

    table: str
    name: str
    path: Path
    words: str
    kind: str = ""
    key: str = "path"
    lines: tuple[str, ...] = ()


@app.default
def run(
    *, at: Annotated[tuple[Path, ...], Parameter(metavar="DIR")] = (), lang: Lang = None
) -> int:
    """Write kaidoku.toml with the checkpoints, data sets and language models that are found.

    Args:
        at: another folder to look in; may be repeated
    """
    from bench.cli.project import meaning

    file = Path.cwd() / NAME
    if os.path.lexists(file):  # a link to nothing too
        raise UserError(f"{file} is there already; add to it by hand, or remove it first")
    folders = dict.fromkeys(folder.expanduser().resolve() for folder in (Path.cwd(), *at))
    if absent := next((folder for folder in folders if not folder.is_dir()), None):
        raise UserError(f"there is no folder {absent}; give one that is there")
    found = dict.fromkeys(each for folder in folders for each in _look(folder, _DEPTH))
    text, names = [_HEAD], {""}
    for one in sorted(found, key=lambda one: (one.table, one.path)):
        name, number = one.name, 1
        while name in names or (meaning(name) and name != one.kind):
            name, number = f"{one.name}-{number + 1}", number + 1
        names.add(name)
        key = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else _quoted(name)
        near = one.path.is_relative_to(file.parent)
        path = str(one.path.relative_to(file.parent) if near else one.path)
        if one.table == "models":
            text += [*["", "[models]"] * ("[models]" not in text), f"{key} = {_quoted(path)}"]
        else:
            kind = [f'kind = "{one.kind}"'] if one.kind not in ("", name) else []
            text += ["", f"[{one.table}.{key}]", *kind, f"{one.key} = {_quoted(path)}", *one.lines]
        words = "found {name}: {what} in {path}"
        print(say(words, name=name, what=say_text(one.words), path=path))
    write_atomically(file, "\n".join([*text, ""]).encode())
    if not found:
        print(say("nothing was found in {folders}", folders=commas(map(str, folders))))
    words = "written: {file}; look at it, then: {command}"
    print(say(words, file=file, command=f"{PROGRAM} list"))
    return 0


def _look(folder: Path, depth: int) -> Iterator[Find]:
    """Yield the finds in a folder and below it; a folder that is itself one is not searched."""
    if not os.access(folder, os.R_OK | os.X_OK):  # no permission to read it
        return
    inside = sorted(folder.iterdir())
    things = [found for look in (_checkpoint, _cvl, _iam) if (found := look(folder))]
    yield from things or (model for path in inside if (model := _model(path)))
    if not things and (table := folder / "gt_test.txt").is_file() and (folder / "image").is_dir():
        yield Find("sets", "trocr-lines", table, "lines in TrOCR's layout", "manifest")
    for path in inside if depth and not things else ():
        ours = folder == ROOT and path.name in _OURS
        if path.is_dir() and not path.name.startswith(".") and not ours:
            yield from _look(path, depth - 1)


def _checkpoint(folder: Path) -> Find | None:
    from models import hub

    try:
        hub.check_architecture("", folder)
    except (OSError, UserError):
        return None
    absent = hub.missing(str(folder))
    words, lines = "a TrOCR checkpoint", []
    if absent and (hub.IMAGES in absent.reason or hub.TOKENIZER in absent.reason):
        encoder = hub.read_json(folder / "config.json").get("encoder")
        width = str(encoder.get("hidden_size")) if isinstance(encoder, dict) else ""
        words += " without image processor or tokenizer"
        base = f"microsoft/trocr-{_SIZES.get(width, 'base')}-handwritten"
        lines = [f'processor = "{base}"  # or the model that it was made from']
    elif absent:
        return None
    number = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    name = f"{folder.parent.name}-{number[1]}" if number else folder.name
    return Find("encoders", _plain(name), folder, words, lines=tuple(lines))


def _iam(folder: Path) -> Find | None:
    from datasets.iam import PARTITIONS

    style = "xml" if any(folder.glob("xml/[a-z][0-9][0-9]-[0-9]*.xml")) else "ascii"
    if style == "ascii" and not (folder / "ascii/lines.txt").is_file():
        return None
    here = {"root": folder, "references": style}
    sets = {name: DATASETS.create("iam", {**here, "partition": name}) for name in PARTITIONS}
    whole = next((name for name, one in sets.items() if one.missing() is None), None)
    words = f"IAM, partition {whole}" if whole else "a part of IAM"
    lines = ["# `list iam` says what is missing"]
    if whole:
        lines = [f'partition = "{whole}"', f'references = "{style}"']
    return Find("sets", "iam", folder, words, "iam", "root", tuple(lines))


def _cvl(folder: Path) -> Find | None:
    there = DATASETS.create("cvl", {"root": folder}).missing() is None
    return Find("sets", "cvl", folder, "CVL", "cvl", "root") if there else None


def _model(path: Path) -> Find | None:
    from decoders.language.arpa import is_arpa

    arpa = path.name.endswith((".arpa", ".arpa.gz", ".arpa.bz2", ".arpa.xz"))
    binary = path.suffix in (".bin", ".binary", ".klm")
    with contextlib.suppress(UserError):
        if path.is_file() and (arpa or (binary and not is_arpa(path))):
            stem = path.name.partition(".arpa")[0] if arpa else path.stem
            return Find("models", _plain(stem), path, "an n-gram model")
    return None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "mine"
