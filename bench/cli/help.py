"""The format of `--help`: plain columns, the same in a terminal and in a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions

from bench.report.format import wrapped
from bench.report.language import say_help

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel

_TITLES = {"Commands": "commands", "Arguments": "arguments", "Parameters": "options"}
_INDENT, _COLUMN, _WIDEST = 2, 26, 100
_EXAMPLE = re.compile(r"( +\S.*? {2,})(\S.*)")  # a command, and what it does


class Console(RichConsole):
    """A console that leaves examples on their lines, and a closed pipe to `main`."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, highlight=False, markup=False)

    def on_broken_pipe(self) -> None:
        """Let the error through: rich would leave with exit code 1."""
        raise

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; an epilogue, which cyclopts has no format for, in the language."""
        super().print(*(_epilogue(one, self.width) for one in objects), **options)


class PlainFormatter:
    """Formatter of help panels: names at the left, wrapped descriptions at the right."""

    def __call__(self, console: RichConsole, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel."""
        lines = [line for entry in panel.entries for line in _entry(entry, console.width)]
        if lines:
            title = say_help(_TITLES.get(str(panel.title), str(panel.title)))
            console.print("\n".join([f"\n{title}:", *lines]))

    def render_usage(self, console: RichConsole, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        console.print(f"{say_help('usage')}: {str(usage).strip()}")

    def render_description(self, console: RichConsole, options: ConsoleOptions, text: Any) -> None:
        """Print the description of a command."""
        for paragraph in _plain(text).split("\n\n"):
            lines = wrapped(say_help(paragraph), min(console.width, _WIDEST))
            console.print("\n".join(["", *lines]))


def _entry(entry: HelpEntry, width: int) -> Iterator[str]:
    metavar = f"{{{','.join(entry.choices)}}}" if entry.choices else entry.metavar
    names = [*entry.shorts, *entry.names]
    label = entry.positional_label or f"{', '.join(names)} {metavar or ''}".rstrip()
    about = _plain(entry.description).removesuffix(".")
    words = say_help(about)
    if entry.default is not None and "default: " not in about:
        words += f"{say_help('; default' if about else 'default')}: {entry.default}"
    lines = wrapped(words, max(20, min(width, _WIDEST) - _COLUMN))
    head = f"{'':{_INDENT}}{label}"
    if len(head) + 2 > _COLUMN:
        yield head
    else:
        yield f"{head:{_COLUMN}}{lines.pop(0)}".rstrip()
    yield from (f"{'':{_COLUMN}}{line}" for line in lines)


def _epilogue(thing: Any, width: int) -> Any:
    """The text of an epilogue, with examples on their lines; anything else as it is."""
    if not hasattr(thing, "primary_renderable"):
        return thing
    lines: list[str] = []
    for kept, group in groupby(_plain(thing).splitlines(), lambda line: line[:1] in ("", " ")):
        if kept:
            lines += [
                _EXAMPLE.sub(lambda found: found[1] + say_help(found[2]), one) for one in group
            ]
        else:
            lines += wrapped(say_help(" ".join(group)), min(width, _WIDEST))
    return "\n".join(lines)


def _plain(inline: Any) -> str:
    return str(getattr(inline, "primary_renderable", "")).strip()
