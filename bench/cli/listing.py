"""`python -m bench list`: what can run here, and what is missing or wrong."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import sys
from collections.abc import Container, Sequence
from typing import Any

from cyclopts import App

from bench.analysis.doctor import Fact, Thing, examine, inventory, look_up
from bench.cli import PROGRAM
from bench.cli.options import DataRoot, Json, Lang, print_json
from bench.core.errors import UserError
from bench.core.named import file_of_model, named
from bench.core.options import describe
from bench.core.registry import did_you_mean
from bench.report.format import padded, plural, width_of, wrapped
from bench.report.language import say, say_about, say_text
from datasets import DATASETS
from datasets.damage import DAMAGES
from decoders import DECODERS
from decoders.correctors import CORRECTORS
from models import ENCODERS

_REGISTRIES = {
    "encoders": ENCODERS,
    "decoders": DECODERS,
    "correctors": CORRECTORS,
    "datasets": DATASETS,
    "damages": DAMAGES,
}

_NARROWEST = 40  # columns of a text behind a name
_MARKS = {"ok": "  ", "note": "- ", "problem": "! "}

app = App(
    name="list",
    usage=f"{PROGRAM} list [OPTIONS] [WHAT...]",
    help_epilogue=f"""\
examples:
  {PROGRAM} list                  everything, with what is missing and what would mend it
  {PROGRAM} list decoders         one kind: encoders, decoders, correctors, ...
  {PROGRAM} list ctc-kenlm        one thing, with the options that -o can set
  {PROGRAM} list --json | jq -r '.encoders[] | select(.here) | .name'
  {PROGRAM} list --check          this machine: ! a problem for the main job, - worth knowing
  {PROGRAM} list --check --json | jq '.[] | select(.verdict == "problem")'

exit code 1: with --check, something that the main job needs is wrong
""",
)


@app.default
def run(
    *what: str,
    check: bool = False,
    data_root: DataRoot = None,
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """List registered names, with the reason and remedy of missing ones.

    Args:
        what: kinds or names to show; everything by default
        check: look at this machine instead: versions, device, data, weights, permissions, each
            problem with its remedy
    """
    if check:
        if what:
            raise UserError(f"--check looks at the whole machine; leave {what[0]} out")
        return _check(as_json)
    kinds, names = _asked(what)
    things = {kind: inventory(_REGISTRIES[kind]) for kind in kinds}
    if models := [_model(name) for name in named().models if not what or name in what]:
        things["language models"] = models
    details = [_detail(name) for name in names]
    if as_json:
        record: dict[str, Any] = {
            kind: [_record(thing) for thing in each] for kind, each in things.items()
        }
        print_json({**record, **({"things": details} if details else {})})
        return 0
    blocks = [_kind_text(kind, each) for kind, each in things.items()]
    blocks += [_detail_text(detail) for detail in details]
    print("\n\n".join(blocks))
    return 0


def _asked(words: Sequence[str]) -> tuple[list[str], list[str]]:
    names = {name for registry in _REGISTRIES.values() for name in registry.names()}
    words = [word for word in words if word not in named().models] if words else [*_REGISTRIES]
    for word in words:
        if word not in _REGISTRIES and not any(word in r for r in _REGISTRIES.values()):
            known = [*_REGISTRIES, *sorted({*names, *named().models})]
            raise UserError(f"nothing is called {word!r}{did_you_mean(word, known)}")
    kinds = [word for word in words if word in _REGISTRIES]
    return kinds, [word for word in words if word not in _REGISTRIES]


def _model(name: str) -> Thing:
    """A language model of the project file."""
    place = named().models[name]
    try:
        file_of_model(name)
    except UserError as error:
        reason, _, remedy = str(error).partition("; ")
        return Thing(name, place, reason, remedy)
    return Thing(name, place)


def _record(thing: Thing) -> dict[str, Any]:
    return {**dataclasses.asdict(thing), "here": thing.here}


def _detail(name: str) -> dict[str, Any]:
    """Describe a thing, with its documentation and the options that a user may set."""
    registry = next(r for r in _REGISTRIES.values() if name in r)
    thing = look_up(registry, name)
    record: dict[str, Any] = {"kind": registry.kind, **_record(thing), "about": "", "options": []}
    try:
        targets, own = registry.targets(name), registry.options(name)
    except (ImportError, UserError):
        if thing.here:
            raise
        return record  # it, or a package of it, cannot be imported
    fixed, own_values = registry.entry(name).options, registry.entry(name).defaults
    record["about"] = "\n\n".join(_documentation(target, own) for target in targets)
    record["options"] = [
        {
            "name": option,
            "type": describe(kind),
            "default": str(own_values.get(option, _default(f))),
        }
        for option, (f, kind) in own.items()
        if option not in fixed
    ]
    return record


def _documentation(target: Any, options: Container[str]) -> str:
    """Join the docstring of a thing with those of the options that it inherits."""
    about = [inspect.getdoc(target) or ""]
    for base in target.__mro__[1:]:
        if any(name in options for name in vars(base).get("__annotations__", {})):
            about.append((inspect.getdoc(base) or "").partition("\n\n")[2])
    return "\n\n".join(filter(None, about))


def _default(option: dataclasses.Field[Any]) -> str:
    if option.default is not dataclasses.MISSING:
        return str(option.default) or '""'
    if option.default_factory is not dataclasses.MISSING:
        return str(option.default_factory())
    return "none; it is required"


def _kind_text(kind: str, things: list[Thing]) -> str:
    width = max(len(thing.name) for thing in things)
    here = sum(thing.here for thing in things)
    words = "{kind} ({here} of {all} here)"
    lines = [say(words, kind=say(kind), here=here, all=len(things))]
    for thing in things:
        mark = " " if thing.here else "-"
        lines.append(behind(f"{mark} {thing.name:<{width}}  ", say_text(thing.summary)))
        lines += [behind(" " * (width + 4), text) for text in absence(thing.reason, thing.remedy)]
    if kind in _REGISTRIES and _REGISTRIES[kind].also:
        lines.append(f"  {say_text(_REGISTRIES[kind].also)}")
    return "\n".join(lines)


def fact(name: str, text: str, width: int = 8, indent: int = 2) -> str:
    """A fact behind its name."""
    return behind(f"{'':{indent}}{padded(say(name), width)} ", text)


def absence(reason: str, remedy: str) -> list[str]:
    """Lines that say why a thing is missing and how to mend it; none without reason and remedy."""
    lines = [say("missing: {reason}", reason=say_text(reason))] if reason else []
    return lines + ([say("mend it: {remedy}", remedy=say_text(remedy))] if remedy else [])


def behind(name: str, text: str) -> str:
    """A text behind its name; on a terminal in lines that fit, one below the other."""
    if not sys.stdout.isatty():
        return f"{name}{text}"
    room = max(_NARROWEST, shutil.get_terminal_size().columns - width_of(name))
    return name + f"\n{' ' * width_of(name)}".join(wrapped(text, room))


def _detail_text(detail: dict[str, Any]) -> str:
    name, kind = detail["name"], detail["kind"]
    lines = [f"{say_text(f'{kind} {name}')}: {say_text(detail['summary'])}"]
    lines += [say("here")] if detail["here"] else []
    lines += absence(detail["reason"], detail["remedy"])
    options = [
        f"  -o {name}.{option['name']}=...  "
        + say("{type}; default {default}", type=say_text(option["type"]), default=option["default"])
        for option in detail["options"]
    ]
    lines += ["", say_about(detail["about"]), "", *(options or [f"  {say('(no options)')}"])]
    return "\n".join(lines)


def _check(as_json: bool) -> int:
    """Print the facts about this machine; exit code 1 where one is a problem."""
    facts = examine()
    problems = sum(fact.verdict == "problem" for fact in facts)
    if as_json:
        print_json([dataclasses.asdict(fact) for fact in facts])
        return int(problems > 0)
    width = max(width_of(say_text(fact.name)) for fact in facts)
    print("\n".join(_line(fact, width) for fact in facts))
    verdict = plural(problems, "problem") if problems else say("no problems")
    print(
        "\n"
        + say(
            "{problems} for the main job ({command})",
            problems=verdict,
            command=f"{PROGRAM} run --all",
        )
    )
    return int(problems > 0)


def _line(fact: Fact, width: int) -> str:
    name = f"{_MARKS[fact.verdict]}{padded(say_text(fact.name), width)}  "
    remedies = [behind(" " * (width + 4), text) for text in absence("", fact.remedy)]
    return "\n".join([behind(name, say_text(fact.found)), *remedies])
