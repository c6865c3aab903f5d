"""Runs with a web report, and its page in a real Chromium, without which tests of it skip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.pipeline.store import RunStore
from bench.report import output
from bench.report.language import language
from bench.report.results import collect
from tests.run_rows import read_line, row, timing
from tests.stored_runs import run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


def edits_of(number: int, place: int, severity: int) -> int:
    """How many characters the decoder at this place misreads in a line of `a_run`."""
    return (number % (3 + place)) * (severity + place) % 8


def a_run(folder: Path, decoders: Sequence[str], lines: int = 60) -> RunStore:
    """Decoders on lines of six writers, clean and under char_erase 1 and 3."""
    cells = []
    for place, decoder in enumerate(decoders):
        for severity in (0, 1, 3):
            read, characters, errors = [], 0, 0
            for number in range(lines):
                reference, edits = f"line {number} of the test", edits_of(number, place, severity)
                text = "#" * edits + reference[edits:]
                read.append(read_line(f"l{number:04}", reference, text, f"w{number % 6}"))
                characters, errors = characters + len(reference), errors + edits
            damage: dict[str, Any] = {"damage": "char_erase", "severity": severity}
            rate = timing(10.0 * (place + 1))
            made = row(
                decoder, cer=errors / characters, timing=rate, **(damage if severity else {})
            )
            cells.append((made, read))
    return run(folder, *cells)


def write(store: RunStore, lang: str = "en", pictured: int | None = 0) -> None:
    """The page of a run."""
    with language(lang):
        output.write(store.path, collect(store), ("html",), pictured)


@contextmanager
def opened(browser: Browser, store: RunStore, address: str = "", **context: Any) -> Iterator[Page]:
    """The page of a run, ready. At the end it must not have complained or asked for anything."""
    complaints: list[str] = []

    def asked(url: str) -> None:
        if url.partition(":")[0] not in ("file", "data", "blob"):
            complaints.append(url)

    held = browser.new_context(**context)
    page = held.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: asked(request.url))
    page.goto((store.path / "report.html").resolve().as_uri() + address)
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    assert complaints == []
    held.close()


def ids(page: Page) -> list[str]:
    """The ids of the lines that are shown."""
    return page.locator("#cards article > header span:first-child").all_inner_texts()


def found(page: Page) -> str:
    """How many lines pass the filters."""
    return page.locator("#found").inner_text()
