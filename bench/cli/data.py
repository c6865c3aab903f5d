"""`python -m bench data`: list, get and check the data sets that are not embedded."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.bars import Steps
from bench.cli.data_check import add_arguments, by_split, without
from bench.core.errors import UserError
from bench.core.hub_fetch import size_of
from bench.core.registry import did_you_mean
from datasets import DATASETS
from datasets.hub import MAIN, download, is_hub_id, licence_of, parquet_files
from datasets.root import VARIABLE, data_root, writable_root
from datasets.sources import SOURCES, Source, missing_files, missing_pieces

_EPILOG = f"""\
examples:
  {PROGRAM} data list                    the sets, their licences, and which are here
  {PROGRAM} data get unipen hooker       download, rebuild and verify two sets
  {PROGRAM} data get hooker --url https://mirror.example/JosephHookerHTR.git
  {PROGRAM} data get Teklia/IAM-line     the Parquet files of a data set of the Hub
  {PROGRAM} data check                   read what is here to the end, compare it with the record
  {PROGRAM} data check hooker            the same for one set, and count what it holds
  {PROGRAM} data check iam -o iam.root=~/IAM --strict
  {PROGRAM} data check parquet -o parquet.path=Teklia/IAM-line --split test
  {PROGRAM} data check page -o page.root=my-letters --out letters-check
  {PROGRAM} data check unipen --json | jq '.[0].state'

`check NAME` reads any data set of `list` and counts its lines, writers and blocks by split, its
alphabet, texts and images that occur twice, and lines that cannot be used, with the reason. It
writes a contact sheet (sheet.png) to look at, and all reasons (bad-lines.jsonl).

The data root is the first of: --data-root, the environment variable {VARIABLE}, data/ in the
checkout, shared/data/ beside the checkout. Sets are got from their public git repositories at a
pinned commit, and are put in place only when their content has the recorded hash. UNIPEN comes
with isolated words and characters: `train` reads them, nothing else does, and nothing else is
wrong without them.

exit codes: 0 all is well; 1 a set differs from its record, lines cannot be used, or a set that was
named is missing; 2 a mistake in what was asked for, or --strict and a line that cannot be used
"""

_FORMATTER = argparse.RawDescriptionHelpFormatter


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "data",
        help="list, get and check data sets",
        description="The data sets that are not embedded: which there are, getting, checking.",
        epilog=_EPILOG,
        formatter_class=_FORMATTER,
    )
    parser.set_defaults(handler=run, action=None, parser=parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    _add_list(actions)
    _add_get(actions)
    _add_check(actions)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    if args.action is None:
        raise UserError(f"say what to do: list, get or check; see {PROGRAM} data --help")
    return int(args.action(args))


def _add_list(actions: Any) -> None:
    parser = _action(actions, "list", "the sets, their licences, and which are here", _list)
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_get(actions: Any) -> None:
    parser = _action(actions, "get", "download, rebuild and verify sets", _get)
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help=f"{', '.join(SOURCES)}, or owner/name of the Hub"
    )
    parser.add_argument("--url", help="fetch the pinned commit from here (a mirror, a clone)")
    parser.add_argument("--revision", metavar="REV", help="of the Hub's: branch, tag or commit")
    parser.add_argument("--files", metavar="PATTERN", help="of the Hub's: only Parquet files of it")


def _add_check(actions: Any) -> None:
    summary = "compare sets with their record, and count what a set holds"
    add_arguments(_action(actions, "check", summary, None))


def _action(actions: Any, name: str, summary: str, do: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, epilog=_EPILOG, formatter_class=_FORMATTER
    )
    add_data_root(parser)
    parser.set_defaults(action=do)
    return parser


def _list(args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps([_listed(source) for source in SOURCES.values()], indent=2))
        return 0
    print(f"data root: {data_root() or 'none yet'}")
    for source in SOURCES.values():
        missing = missing_files(source.name)
        print(f"\n{' ' if missing is None else '-'} {source.name}: {source.title}")
        print(f"    lines    {by_split(source.lines)}")
        if source.pieces:
            print(f"    training {_counts({p.name: p.count for p in source.pieces})}")
        print(f"    source   {source.url} @ {source.commit[:12]}")
        print(f"    licence  {source.licence}; {source.attribution}")
        if missing is not None:
            print(f"    missing: {missing.reason}\n    mend it: {missing.remedy}")
        elif absent := missing_pieces(source.name):
            names = " and ".join(pieces.name for pieces in absent)
            print(f"    {without(names, source.name)}")
    return 0


def _listed(source: Source) -> dict[str, Any]:
    missing = missing_files(source.name)
    return {
        **dataclasses.asdict(source),
        "here": missing is None,
        "reason": missing.reason if missing else "",
        "remedy": missing.remedy if missing else "",
        "missing_pieces": [pieces.name for pieces in missing_pieces(source.name)],
    }


def _get(args: argparse.Namespace) -> int:
    from datasets.fetch import get

    repos = [name for name in args.names if is_hub_id(name)]
    if repos or args.revision or args.files:
        return _get_repos(repos, args)
    sources = _sources(args.names)
    if args.url and len(sources) > 1:
        raise UserError("--url is the address of one source; get one set at a time with it")
    root = writable_root()
    for source in sources:
        print(f"{source.name}: {source.title}")
        print(f"  source   {args.url or source.url} @ {source.commit}")
        print(f"  licence  {_notice(source)}", flush=True)
        with Steps(source.name) as steps:
            verdict = get(source, root, args.url, steps.report)
        files = [*source.files, *(pieces.file for pieces in source.pieces)]
        print(f"  here     {' and '.join(files)} in {root}")
        print(f"  lines    {by_split(verdict.lines)}; as recorded (sha256 {verdict.sha256[:12]})")
        if verdict.pieces:
            print(f"  training {_counts({p.name: p.count for p in verdict.pieces})}; as recorded")
    return 0


def _get_repos(repos: list[str], args: argparse.Namespace) -> int:
    """Parquet files of data sets of the Hub."""
    from huggingface_hub import constants

    if len(repos) < len(args.names) or args.url:
        raise UserError(
            "a data set of the Hub is got by --revision and --files, the others by --url; "
            "get them by commands of their own"
        )
    if args.revision and len(repos) > 1:
        raise UserError("--revision is of one data set; get one at a time with it")
    revision, pattern = args.revision or MAIN, args.files or "*"
    for repo in dict.fromkeys(repos):
        print(f"{repo}: of {constants.ENDPOINT}, revision {revision}", flush=True)
        try:
            with Steps(repo) as steps:
                folder = download(repo, revision, pattern, steps.report)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command goes on from there") from None
        files = parquet_files(folder, pattern)
        size = size_of(sum(file.stat().st_size for file in files))
        print(f"  licence  {licence_of(folder)}, as its card says")
        print(f"  here     {len(files)} files, {size}, in {folder}")
        print(f"  read it  {PROGRAM} data check parquet -o parquet.path={repo}")
        print(f"  commit   {folder.name}; -o parquet.revision={folder.name} pins it")
    return 0


def _notice(source: Source) -> str:
    alike = ", what you make of it under the same licence" if "-SA-" in source.licence else ""
    return f"{source.licence}: free to use and to share{alike}, if you name: {source.attribution}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _sources(names: list[str]) -> list[Source]:
    for name in names:
        if name in DATASETS and name not in SOURCES:
            raise UserError(_not_to_get(name))
        if name not in SOURCES:
            raise UserError(f"no data set is called {name!r}{did_you_mean(name, SOURCES)}")
    return [SOURCES[name] for name in dict.fromkeys(names)]


def _not_to_get(name: str) -> str:
    missing = DATASETS.create(name).missing()
    if missing is None:
        return f"{name} is here already; there is nothing to get"
    return f"{name} cannot be got for you: {missing}"
