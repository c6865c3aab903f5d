"""The command line: `python -m bench COMMAND`. A command's module is imported when asked for.

A command is a cyclopts `App` with examples as its epilogue, whose function returns the exit code:

    0    all is well
    1    some cells failed, some lines could not be read, or something is wrong
    2    the user's mistake, or something that is not here: one sentence on stderr
    130  Ctrl-C
    141  the reader of stdout went away, as after `| head`

Results go to stdout, progress to stderr. Options that commands share are in `bench.cli.options`.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import cyclopts
from cyclopts import App, Group, Parameter

from bench.cli.help import Console, PlainFormatter
from bench.core.errors import Unavailable, UserError, printable
from bench.core.named import named
from bench.core.options import describe
from bench.core.project import NAME, find
from bench.core.registry import did_you_mean
from bench.report.language import LANGUAGES, language, preferred, say, say_text

if TYPE_CHECKING:
    from bench.cli.project import RunDefaults

PROGRAM = "python -m bench"


class Command(NamedTuple):
    """Where a command's `App` is, its group, and its line in the overall help.

    The overall help imports no command.
    """

    group: str
    place: str
    summary: str

    @property
    def module(self) -> str:
        """The full name of its module."""
        return f"{__name__}.{self.place.partition(':')[0]}"


COMMANDS = {
    "run": Command("measure", "run:app", "encoders x decoders x data sets x damages"),
    "speed": Command("measure", "speed:app", "the speed table of TrOCR, reported and measured"),
    "experiment": Command("measure", "experiment:app", "what does language give when ink is lost?"),
    "report": Command("read", "report:app", "tables and plots of a run"),
    "compare": Command("read", "compare:app", "what one system gains over another, at what cost"),
    "errors": Command("read", "errors:app", "what is misread, and what language changes of it"),
    "cite": Command("read", "cite:app", "the footnote of a number; --again measures it again"),
    "init": Command("material", "init:app", "a project file with the models and data found here"),
    "list": Command("material", "listing:app", "what can run here, and what is missing"),
    "data": Command("material", "data:app", "get, check and damage data sets, get weights"),
    "lm": Command("material", "lm:app", "build n-gram language models"),
    "tune": Command("material", "tune:app", "tune language model weights on a validation split"),
    "train": Command("train and check", "train:app", "an encoder and its heads, a language model"),
    "check": Command("train and check", "check:app", "is a system over-fitted? does a split leak?"),
    "dev": Command("develop", "dev:app", "compare with peers, trace, diagnose, show modules"),
}

# Commands of the first edition.
MOVED = {
    "doctor": "list --check",
    "perf": "dev perf",
    "trace": "dev trace",
    "diagnose": "dev diagnose",
    "show": "dev show",
    "reproduce": "cite --again",
    "damage": "data damage",
    "weights": "data",
}

_EPILOG = f"""\
examples:
  {PROGRAM} run --all                 the main job: everything that can run here
  {PROGRAM} run --encoder mini --decoder ctc-greedy,ar-beam --limit 50
  {PROGRAM} list                      names, and what is missing
  {PROGRAM} list --check              is this machine fit for it?
  {PROGRAM} COMMAND --help            options and examples of one command

--traceback, after any command, shows where an error comes from. --project FILE names another
project file than the {NAME} of this folder or of the nearest one above it.

exit codes: 0 all is well; 1 some cells failed or lines could not be read; 2 a mistake in what
was asked for, or something that is not here; 130 Ctrl-C
"""

_PROJECT = "--project"
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}
_OURS = {"bench", "models", "decoders", "datasets"}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and leave with its exit code.

    Args:
        argv: the arguments after the program's name; those of the process by default.
    """
    _open_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    try:
        try:
            code = _execute(words)
        finally:
            sys.stdout.flush()  # here, where a reader that has gone away is no error
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141  # what a program has that SIGPIPE ends
    except (UserError, KeyboardInterrupt, ModuleNotFoundError, OSError, RuntimeError) as error:
        sentence = _sentence(error)
        if traceback or not sentence:
            raise
        _print_error(error, sentence, words)
        code = 130 if isinstance(error, KeyboardInterrupt) else 2
    raise SystemExit(code)


def _open_streams() -> None:
    """Let every text be printed.

    A stream that is closed (`>&-`) leads nowhere; characters that a stream's encoding lacks are
    written as their codes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, stream)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _execute(words: list[str]) -> int:
    if not words:
        with language(_language(words)):
            _root(None).help_print([], console=Console(stderr=True))
        return 2
    words, config = _own_things(words)
    command, bound = parse(words, config)
    if bound.arguments.get("data_root") is not None:
        from datasets.root import set_data_root

        set_data_root(bound.arguments["data_root"])
    if getattr(command, "__func__", None) is App.help_print:
        chosen = _language(words)
    elif "lang" in bound.signature.parameters:
        chosen = bound.arguments.get("lang") or preferred()
    else:
        chosen = "en"
    try:
        with language(chosen), _announced("torch"):
            return int(command(*bound.args, **bound.kwargs) or 0)
    except UserError as error:
        if config is None or isinstance(error, Unavailable):
            raise
        raise config.placed(error) from error


@contextmanager
def _announced(package: str) -> Iterator[None]:
    """Print on stderr that a package is loaded, which takes seconds, before its first import."""

    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == package:
                sys.meta_path.remove(self)
                print(say_text(f"loading {package}"), file=sys.stderr, flush=True)

    finder: Any = Finder()
    if package not in sys.modules:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def _language(words: Sequence[str]) -> str:
    """The language that words ask for, as far as there is one; else the user's; else English."""
    chosen = preferred()
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--lang":
            chosen = value if equals else next(iter(words[place + 1 :]), "")
    return chosen if chosen in LANGUAGES else "en"


def _print_error(error: BaseException, sentence: str, words: Sequence[str]) -> None:
    """Print an error on stderr in the user's language, as far as its words are translated."""
    with language(_language(words)):
        text = say_text(sentence)
        if isinstance(error, Unavailable) and error.remedy:
            text = f"{say_text(error.reason)} ({say_text(error.remedy)})"
        print(printable(say("error: {sentence}", sentence=text)), file=sys.stderr)


def _own_things(words: list[str]) -> tuple[list[str], RunDefaults | None]:
    """Load the project file, except for `init` and for help.

    Returns:
        The words without --project, and the defaults of `run`.
    """
    flags = [place for place, word in enumerate(words) if word.partition("=")[0] == _PROJECT]
    chosen = None
    for place in reversed(flags):
        flag, equals, value = words.pop(place).partition("=")
        if not equals and place < len(words):
            value = words.pop(place)
        if not value:
            raise UserError(f"{flag} needs a value, the file's name; see {PROGRAM} --help")
        chosen = chosen or Path(value).expanduser()
    if chosen and _asked(words) == "init":
        raise UserError(f"init writes {NAME} into this folder; leave out {_PROJECT}")
    silent = _asked(words) == "init" or {"--help", "-h"} & set(words)
    try:
        path = None if silent else chosen or find(Path.cwd())
    except FileNotFoundError as error:
        raise UserError("this folder was deleted; change into another one") from error
    if path is None and named().folder is None:
        return words, None
    from bench.cli.project import RunDefaults, forget, load  # imports the registries

    if path is None:
        forget()
        return words, None
    return words, RunDefaults(load(path))


def _asked(words: Sequence[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)


def parse(
    words: list[str], config: Callable[..., None] | None = None
) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """Find the command that words name, and its arguments; running it is left to the caller.

    `config` completes the arguments, as in cyclopts.

    Raises:
        UserError: an unknown command or option, or a value that does not fit.
    """
    asked = _asked(words)
    if asked in MOVED:
        raise UserError(f"{asked} is now {PROGRAM} {MOVED[asked]}; see its --help")
    if asked is not None and asked not in COMMANDS:
        raise UserError(f"no command is called {asked!r}{did_you_mean(asked, COMMANDS)}")
    root = _root(asked)
    root.config = config
    try:
        command, bound, _ = root.parse_args(words, print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        raise UserError(_mistake(error)) from error
    if command == root.help_print and asked and not set(words) & set(root.help_flags):
        actions = ", ".join(name for name in root[asked] if not name.startswith("-"))
        raise UserError(f"say what to do: {actions}; see {PROGRAM} {' '.join(words)} --help")
    return command, bound


def _root(asked: str | None) -> App:
    """The program with all commands, of which only the one that is asked for is imported."""
    root = App(
        name=PROGRAM,
        help="Kaidoku: a benchmark for the decoders of handwriting recognisers.",
        help_epilogue=_EPILOG,
        help_format="plaintext",
        help_formatter=PlainFormatter(),
        console=Console(),
        version_flags=(),
        default_parameter=Parameter(negative=(), show_default=_default, allow_repeating=True),
    )
    root["--help"].show = False
    groups = dict.fromkeys(command.group for command in COMMANDS.values())
    panels = {name: Group(name, sort_key=place) for place, name in enumerate(groups)}
    for place, (name, command) in enumerate(COMMANDS.items()):
        if name == asked:
            app = command.place.partition(":")[2]
            root.command(getattr(importlib.import_module(command.module), app), name=name)
        else:
            path, panel = f"{__name__}.{command.place}", panels[command.group]
            root.command(path, name=name, help=command.summary, group=panel, sort_key=place)
    return root


def _default(value: object) -> str | None:
    """A default as shown in help; None to omit it."""
    if value is None or value is False or value == ():
        return None
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _mistake(error: cyclopts.CycloptsError) -> str:
    """Describe a command line error in one sentence."""
    chain = " ".join(error.command_chain or ())
    see = f"see {PROGRAM} {chain} --help"
    argument = error.argument
    if isinstance(error, cyclopts.UnknownOptionError):
        flag = str(error.token.keyword or error.token.value)
        names = (name for each in error.argument_collection for name in each.names)
        flags = [name for name in names if name.startswith("-")]
        return f"{chain} has no option {flag}{did_you_mean(flag, flags) if flags else ''}"
    if isinstance(error, cyclopts.UnusedCliTokensError) and error.unused_tokens:
        word = error.unused_tokens[0]
        hint = f"name a run with --run {word}" if chain in ("report", "errors") else see
        return f"{chain} does not know what to do with {word!r}; {hint}"
    if isinstance(error, cyclopts.UnknownCommandError) and error.unused_tokens and error.app:
        actions = [name for name in error.app if not name.startswith("-")]
        word = error.unused_tokens[0]
        return f"{chain or PROGRAM} has no action {word!r}{did_you_mean(word, actions)}"
    if isinstance(error, cyclopts.MissingArgumentError) and argument is not None:
        if error.keyword:
            return f"{error.keyword} needs a value; {see}"
        name = argument.name
        return f"{chain} needs {name if name.startswith('--') else name.upper()}; {see}"
    if isinstance(error, cyclopts.CoercionError) and error.token and error.msg is None:
        name = error.token.keyword or (argument.name.upper() if argument else chain)
        return f"{name} takes {describe(error.target_type)}, not {error.token.value!r}; {see}"
    if isinstance(error, cyclopts.ValidationError) and argument is not None and argument.tokens:
        token, rule = argument.tokens[-1], error.exception_message.rstrip(".")
        return f"{token.keyword} {rule[:1].lower()}{rule[1:]}, not {token.value}; {see}"
    return f"{chain}: {error}"


def _sentence(error: BaseException) -> str:
    """Explain an error to the user; "" when it is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in _OURS:
            return ""
        return f"the package {package} is not installed; run: pip install ."
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of expanduser
        return "a path begins with ~ and a name that no user here has; write the whole path"
    if not isinstance(error, OSError):
        return ""
    if error.errno in _FORBIDDEN:
        return f"no permission to use {error.filename}; choose a place that you may write to"
    if error.errno in _FULL:
        return f"no space left on the device of {error.filename or 'the results'}; make room"
    if error.errno == errno.ENAMETOOLONG:
        return (
            f"the name {Path(str(error.filename)).name[:60]}... is too long; choose a shorter one"
        )
    if error.errno in _NOT_A_FOLDER:
        return f"{error.filename} is in the way: it is a file where a folder is needed"
    return ""
