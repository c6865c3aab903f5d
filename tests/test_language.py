"""Japanese words: all that the code says has them, with the same values in them."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from typing import get_args, get_type_hints

import pytest
from babel.messages.pofile import read_po
from cyclopts import App

from bench import ROOT, cli
from bench.analysis.experiment.design import read_design
from bench.analysis.misreadings.classes import VIEWS
from bench.analysis.reproduce import _ABSENT, _PREFIXES
from bench.cli import data, help
from bench.cli import listing as listing_command
from bench.cli.help import Console
from bench.core.errors import UserError
from bench.core.metrics import LENIENT
from bench.core.types import UNTRAINED
from bench.pipeline.leaks.leak import KINDS, KNOWN
from bench.report import compare, diagnostics, errors, experiment, leak, reproduce, speed_table
from bench.report.conditions import _MANY
from bench.report.experiment_tables import CEILING
from bench.report.format import listing, plural, width_of, wrapped
from bench.report.language import catalogue, in_force, language, say_help, say_text
from bench.report.speed import NOT_STATED, Origin
from datasets.about import _KNOWN
from datasets.acquire import Audit
from datasets.damage import DAMAGES
from datasets.sources import SOURCES
from decoders.language.lm import EMBEDDED_TEXT

REPORT = ROOT / "bench" / "report"
CODE = [*REPORT.rglob("*.py"), *(ROOT / "bench" / "cli").rglob("*.py")]
PARTS = ("low", "high", "p", "added", "net per 1,000", "p (Holm)")  # of heads of spreadsheets
LOCALE = REPORT / "locale" / "ja" / "LC_MESSAGES"
SCRIPTS = [*REPORT.rglob("*.js"), *REPORT.rglob("*.j2")]
JAPANESE = catalogue("ja")


def nodes() -> Iterator[ast.AST]:
    for path in CODE:
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def said() -> set[str]:
    """The words in calls of `say` and `plural`."""
    words = set()
    for node in nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            match node.func.id, node.args:
                case "say", [ast.Constant(value=str(text)), *_]:
                    words.add(text)
                case "fact", [ast.Constant(value=str(text)), *_]:
                    words.add(text)
                case "plural", [_, ast.Constant(value=str(noun))]:
                    words.add(f"{{count}} {noun}")
    for path in SCRIPTS:
        words |= set(re.findall(r"\bsay\([\"']([^\"']+)[\"']\)", path.read_text(encoding="utf-8")))
    return words


def templates() -> set[str]:
    """Sentences with `{name}` in them, wherever they stand in the code."""
    return {
        node.value
        for node in nodes()
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"\{[a-z_]+\}", node.value)
        and not set(node.value) & set("\\\n")
        and node.value != "{count} "
    }


def fields(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


def of_design() -> set[str]:
    """Words of the experiment's design, which is no code."""
    design = read_design()
    claims = {words for one in design.contrasts for words in (one.name, one.claim)}
    return {*design.sets, *design.conditions, *claims}


def from_tables() -> set[str]:
    """Words that `say` and `named` take from tables in the code."""
    blocks = {facts.block for facts in _KNOWN.values()} - {""} | {"writer", "block"}
    return {
        *experiment._ANSWERS.values(), *filter(None, experiment._ANSWERS), *experiment._LIMITS,
        *of_design(),
        *(fact for facts in KNOWN.values() for fact in facts), *leak._PHRASES.values(), *KINDS,
        *(head for _, head in diagnostics._KINDS), diagnostics._ABOUT_KINDS,
        diagnostics._ABOUT_ORACLE, *reproduce._RANGES.values(), *_PREFIXES.values(), _ABSENT,
        *DAMAGES.names(), *LENIENT, CEILING, EMBEDDED_TEXT, errors.NOTHING, errors.SPACE,
        "character", compare._PAIR, compare._TESTED, compare._UNTESTED, compare._SIDES,
        *compare._LINES, compare._OTHER_SETTING,
        *compare._SPEED_NOTES.values(), *PARTS, speed_table._REPORTED, speed_table._SINGLE,
        speed_table._RANDOM_HEAD, speed_table._UNTRAINED, *get_args(Origin), NOT_STATED, UNTRAINED,
        *(word for view in VIEWS for word in (view.name, *view.classes, *view.classes.values())),
        *listing_command._REGISTRIES, *data._FILES.values(),
        *get_args(get_type_hints(Audit)["state"]),
        *blocks, *(f"{{count}} {noun}" for noun in blocks),
        *(_MANY[noun] for noun in blocks),
        *(facts.synthetic for facts in _KNOWN.values() if facts.synthetic),
        *(facts.composed for facts in _KNOWN.values() if facts.composed),
    }  # fmt: skip


def test_everything_said_has_japanese_words():
    assert sorted((said() | from_tables() | templates()) - set(JAPANESE) - {""}) == []


def test_the_catalogue_has_no_empty_or_fuzzy_entry():
    with (LOCALE / "kaidoku.po").open("rb") as file:
        entries = [entry for entry in read_po(file) if entry.id]
    assert [entry.id for entry in entries if entry.fuzzy or not str(entry.string).strip()] == []


def test_no_word_of_the_catalogue_is_left_over():
    # Names become words too: they stand in the code as strings of their own.
    files = [
        path for part in ("bench", "datasets", "decoders") for path in (ROOT / part).rglob("*.py")
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in [*files, *SCRIPTS])
    code = re.sub(r"\"\s*\n\s*f?\"", "", code)  # strings that go on in the next line
    code = code.replace("'", '"')
    known = said() | of_design()
    left = [
        words
        for words in JAPANESE
        if f'"{words.removeprefix("{count} ")}"'.replace("'", '"') not in code
        and words not in known
    ]
    assert left == []


def test_both_languages_have_the_same_values():
    for words, own in {**JAPANESE, **catalogue("ja", "texts")}.items():
        assert fields(words) == fields(own), words


def made(node: ast.expr) -> str:
    """A text of the code, nearest names left out, with an invented value for any other."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    shown = [part for part in parts if "did_you_mean(" not in ast.unparse(part)]
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "x/1" for p in shown)


def _words_in(node: ast.AST) -> Iterator[ast.expr]:
    """Reasons and remedies of things that are missing, names of work, mistakes."""
    match node:
        case ast.Call(
            func=ast.Name(id="Unavailable" | "UserError" | "KeyboardInterrupt"), args=args
        ):
            pass
        case ast.Call(func=ast.Attribute(attr="note" | "_track") | ast.Name(id="track"), args=args):
            args = args[-1:]
        case ast.Call(func=ast.Attribute(attr="report") | ast.Name(id="report"), args=[one, _, _]):
            args = [one]
        case (
            ast.Assign(targets=[ast.Name(id="what")], value=one)
            | ast.keyword(arg="what", value=one)
        ):
            args = [one]
        case _:
            return
    yield from (one for one in args if isinstance(one, ast.JoinedStr | ast.Constant))


def below() -> set[str]:
    """Summaries of registered things; texts of the code where they stand in the call."""
    texts = {e.summary for r in listing_command._REGISTRIES.values() for e in r.entries.values()}
    texts |= {registry.also for registry in listing_command._REGISTRIES.values()} - {""}
    texts |= {source.title for source in SOURCES.values()}
    for part in ("models", "decoders", "datasets", "bench"):
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                texts |= {made(one) for one in _words_in(node)}
    commands = re.compile("python -m|pip install|apt-get")
    return {t for t in texts if not commands.match(t) and len(re.sub(r"x/1|\W", "", t)) > 3}


def test_every_summary_reason_remedy_and_mistake_has_japanese_words():
    with language("ja"):
        assert sorted(text for text in below() if say_text(text) == text) == []


def test_no_general_text_stands_in_for_another():
    """A text with values would leave the English words of a text that is not its own."""
    with language("ja"):
        said = [re.sub(r"(python -m|pip|git) [-\w. ]+", "", say_text(text)) for text in below()]
    assert [text for text in said if re.search(r"\b[a-z]+ [a-z]+ [a-z]+\b", text)] == []


def test_known_names_behind_a_mistake_stay_as_they_are_typed():
    with language("ja"):
        said = say_text("there is no run at /runs/x; there are: mine, first")
        assert said == "/runs/x に実行の結果がない。使えるもの: mine, first"
        said = say_text("no option 'decode'; did you mean decoder or encoder?")
        assert said == "オプション 'decode' はない。もしかして decoder か encoder?"


def test_every_word_of_help_has_japanese_words(monkeypatch, capsys):
    """Headings, summaries, descriptions, options, and examples with what stands below them."""
    shown = set()

    def noted(english: str) -> str:
        shown.add(" ".join(english.split()).removesuffix("."))
        return say_help(english)

    def show(app: App, chain: list[str]) -> None:
        root.help_print(chain, console=Console())
        for name in app:
            if not name.startswith("-"):
                show(app[name], [*chain, name])

    monkeypatch.setattr(help, "say_help", noted)
    with language("ja"):
        for command in cli.COMMANDS:
            root = cli._root(command)
            show(root[command], [command])
        cli._root(None).help_print([], console=Console())
    assert shown - {""} == set(catalogue("ja", "help"))
    assert "言語モデルの重み係数を調整" in capsys.readouterr().out


def test_every_paragraph_of_list_has_japanese_words():
    names = [name for registry in listing_command._REGISTRIES.values() for name in registry.names()]
    abouts = [listing_command._detail(name)["about"] for name in names]
    paragraphs = {text for about in abouts for text in about.split("\n\n")} - {""}
    assert paragraphs == set(catalogue("ja", "about"))


def test_a_recorded_reason_is_translated_with_its_values():
    reason = "the decoder did not open: decoder ctc-kenlm needs the package kenlm"
    assert say_text(reason) == reason
    with language("ja"):
        said = "デコーダを開けなかった: デコーダ ctc-kenlm にはパッケージ kenlm が必要"
        assert say_text(reason) == said
        assert say_text("ValueError: 3 texts for 4 lines") == "ValueError: 3 texts for 4 lines"
        assert say_text("a {brace} in it (x.*)") == "a {brace} in it (x.*)"
        said = "thesis.tex:5: 'cerr' という表はない。もしかして cer?"
        assert say_text("thesis.tex:5: no table is called 'cerr'; did you mean cer?") == said
        said = "kaidoku.toml、4 行目: TOML として読めない(x)。直す"
        assert say_text("kaidoku.toml, line 4: this is not TOML (x); correct it") == said
        fault = "AttributeError: 'Head' object has no attribute 'beam'"
        assert say_text(fault) == fault


def test_a_language_ends_where_it_should_also_after_an_error():
    with pytest.raises(ValueError, match="inside"), language("ja"):
        assert in_force() == "ja" and listing(["a", "b"]) == "a、b" and plural(3, "line") == "3 行"
        raise ValueError("inside")
    assert in_force() == "en" and plural(3, "line") == "3 lines"
    with pytest.raises(UserError, match="did you mean ja"), language("jp"):
        pass


def test_heads_are_wrapped_by_what_their_letters_take():
    text = "char_erase の強度ごとの文字誤り率(CER)、" * 6
    lines = wrapped(text, 88)
    assert "".join(lines) == text and len(lines) > 2
    assert all(40 < width_of(line) <= 90 for line in lines[:-1])
    assert not any(re.match("[、。)ー]", line) or line.endswith("(") for line in lines)
    assert wrapped("学習の長さ。既定: 10", 16) == ["学習の長さ。既", "定: 10"]
    words = "word " * 60
    assert " ".join(wrapped(words, 88)).split() == words.split()
