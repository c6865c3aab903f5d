"""`python -m bench data`: list, get and check the data sets that are not embedded."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.bars import Steps
from bench.errors import UserError
from bench.registry import did_you_mean
from datasets.root import VARIABLE, data_root, writable_root
from datasets.sources import SOURCES, Source, missing_files, missing_pieces

_EPILOG = f"""\
examples:
  {PROGRAM} data list                    the sets, their licences, and which are here
  {PROGRAM} data get unipen hooker       download, rebuild and verify two sets
  {PROGRAM} data get hooker --url https://mirror.example/JosephHookerHTR.git
  {PROGRAM} data check                   read what is here to the end, compare it with the record
  {PROGRAM} data check unipen --json | jq '.[0].state'

The data root is the first of: --data-root, the environment variable {VARIABLE}, data/ in the
checkout, shared/data/ beside the checkout. Sets are got from their public git repositories at a
pinned commit, and are put in place only when their content has the recorded hash. UNIPEN comes
with isolated words and characters: `train` reads them, nothing else does, and nothing else is
wrong without them.

exit codes: 0 all is well; 1 a set differs from its record, or one that was named is missing
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
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--url", help="fetch the pinned commit from here (a mirror, a clone)")


def _add_check(actions: Any) -> None:
    parser = _action(actions, "check", "compare what is here with its record", _check)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all by default")
    parser.add_argument("--json", action="store_true", help="for programs")


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
            print(f"    {_optional(names, source.name)}")
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


def _notice(source: Source) -> str:
    alike = ", what you make of it under the same licence" if "-SA-" in source.licence else ""
    return f"{source.licence}: free to use and to share{alike}, if you name: {source.attribution}"


def _check(args: argparse.Namespace) -> int:
    from datasets.check import check

    verdicts = []
    for source in _sources(args.names or list(SOURCES)):
        with Steps(source.name) as steps:
            verdicts.append(check(source, data_root(), steps.report))
    if args.json:
        records = [{**dataclasses.asdict(v), "foreign": v.foreign} for v in verdicts]
        print(json.dumps(records, indent=2))
    else:
        print(f"data root: {data_root() or 'none yet'}")
        for verdict in verdicts:
            print("\n".join(_lines_of(verdict)))
    wrong = {"differs", "missing"} if args.names else {"differs"}
    states = {verdict.state for verdict in verdicts} & wrong
    return int(bool(states) or any(p.state == "differs" for v in verdicts for p in v.pieces))


def _lines_of(verdict: Any) -> list[str]:
    head = f"{verdict.name:<8} {verdict.state:<8}"
    if verdict.lines:
        foreign = verdict.foreign
        letters = f", of them not printable ASCII: {' '.join(foreign)}" if foreign else ""
        head += f" {by_split(verdict.lines)}; {len(verdict.alphabet)} characters{letters}"
    details = [f"sha256 {verdict.sha256}"] if verdict.sha256 else []
    details += [f"unreadable {line.id}: {line.reason}" for line in verdict.unreadable[:10]]
    if verdict.reason:
        details += [verdict.reason, f"mend it: {verdict.remedy}"]
    details += [_piece_line(found, verdict.name) for found in verdict.pieces]
    return [head, *(f"{'':<8} {detail}" for detail in details)]


def _piece_line(found: Any, name: str) -> str:
    if found.state == "missing":
        return _optional(found.name, name)
    if found.state == "right":
        return f"{found.name} right: {found.count}, for training; sha256 {found.sha256}"
    return f"{found.name} differ: {found.reason}; mend it: {PROGRAM} data get {name}"


def _optional(names: str, source: str) -> str:
    return (
        f"no {names} here: only training reads them, no test does; "
        f"get them: {PROGRAM} data get {source}"
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def by_split(lines: Mapping[str, int]) -> str:
    """Lines by split in words."""
    order = [split for split in ("train", "val", "test") if split in lines]
    order += sorted(set(lines) - set(order))
    return ", ".join(f"{lines[split]} {split}" for split in order)


def _sources(names: list[str]) -> list[Source]:
    for name in names:
        if name not in SOURCES:
            raise UserError(f"no data set is called {name!r}{did_you_mean(name, SOURCES)}")
    return [SOURCES[name] for name in dict.fromkeys(names)]
