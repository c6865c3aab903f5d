"""The format of `--help`: plain columns, the same in a terminal and in a pipe."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel

_TITLES = {"Commands": "commands", "Arguments": "arguments", "Parameters": "options"}
_INDENT, _COLUMN, _WIDEST = 2, 26, 100


class Console(RichConsole):
    """A console that leaves examples on their lines, and a closed pipe to `main`."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, highlight=False, markup=False)

    def on_broken_pipe(self) -> None:
        """Let the error through: rich would leave with exit code 1."""
        raise


class PlainFormatter:
    """Formatter of help panels: names at the left, wrapped descriptions at the right."""

    def __call__(self, console: RichConsole, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel."""
        lines = [line for entry in panel.entries for line in _entry(entry, console.width)]
        if lines:
            title = str(panel.title)
            console.print("\n".join([f"\n{_TITLES.get(title, title)}:", *lines]))

    def render_usage(self, console: RichConsole, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        console.print(f"usage: {str(usage).strip()}")

    def render_description(self, console: RichConsole, options: ConsoleOptions, text: Any) -> None:
        """Print the description of a command."""
        for paragraph in _plain(text).split("\n\n"):
            console.print(f"\n{textwrap.fill(paragraph, min(console.width, _WIDEST))}")


def _entry(entry: HelpEntry, width: int) -> Iterator[str]:
    metavar = f"{{{','.join(entry.choices)}}}" if entry.choices else entry.metavar
    names = [*entry.shorts, *entry.names]
    label = entry.positional_label or f"{', '.join(names)} {metavar or ''}".rstrip()
    about = _plain(entry.description).removesuffix(".")
    if entry.default is not None and "default: " not in about:
        about = "; ".join(filter(None, (about, f"default: {entry.default}")))
    room = max(20, min(width, _WIDEST) - _COLUMN)
    wrapped = textwrap.wrap(about, room, break_on_hyphens=False) or [""]
    head = f"{'':{_INDENT}}{label}"
    if len(head) + 2 > _COLUMN:
        yield head
    else:
        yield f"{head:{_COLUMN}}{wrapped.pop(0)}".rstrip()
    yield from (f"{'':{_COLUMN}}{line}" for line in wrapped)


def _plain(inline: Any) -> str:
    return str(getattr(inline, "primary_renderable", "")).strip()
