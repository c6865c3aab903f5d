"""The lines of the web report in a real Chromium: filters, slider, differences, pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rapidfuzz.distance import Levenshtein

from bench.core.types import Condition, Decoded
from bench.pipeline.cells import line_result
from bench.pipeline.store import RunStore
from bench.report import web
from datasets import DATASETS
from datasets.damage.base import SUITE
from tests.chromium import chromium
from tests.run_rows import counts, row
from tests.stored_runs import run as run_of
from tests.web_pages import DECODERS, a_run, edits_of, found, ids, line, opened, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = a_run(tmp_path_factory.mktemp("web") / "my run")
    write(store)
    return store


@pytest.fixture
def page(browser: Browser, run: RunStore) -> Iterator[Page]:
    with opened(browser, run, viewport={"width": 1200, "height": 800}) as page:
        yield page


# Filters


def test_filters_by_writer_text_and_cer(page):
    assert found(page) == "60 / 60 lines"
    page.get_by_label("Writer").select_option("w1")
    assert found(page) == "10 / 60 lines" and ids(page)[0] == "l0001"
    page.get_by_label("Text or id").fill("LINE 13")
    assert ids(page) == ["l0013"]
    page.get_by_label("Text or id").fill("nowhere")
    assert found(page) == "0 / 60 lines" and not ids(page)
    page.get_by_label("Text or id").fill("")
    page.get_by_label("Writer").select_option("")
    page.get_by_label("CER of").select_option(label="ctc-ngram")
    page.get_by_label("CER in % from").fill("20")
    page.get_by_label("CER in % to").fill("30")
    cers = [edits_of(n, 2, 0) / len(f"line {n} of the test") for n in range(60)]
    expected = [f"l{number:04}" for number, cer in enumerate(cers) if 0.2 <= cer <= 0.3]
    assert ids(page) == expected[:25] and len(expected) > 3
    assert found(page) == f"{len(expected)} / 60 lines"


def test_order_and_pages(page):
    page.get_by_label("CER of").select_option(label="ctc-ngram")
    page.get_by_label("Order").select_option("high")
    cers = {f"l{n:04}": edits_of(n, 2, 0) / len(f"line {n} of the test") for n in range(60)}
    expected = sorted(cers, key=lambda name: (-cers[name], name))
    assert ids(page) == expected[:25]
    page.get_by_role("button", name="next").press("Enter")
    assert ids(page) == expected[25:50]
    page.get_by_role("button", name="next").click()
    assert ids(page) == expected[50:] and page.get_by_role("button", name="next").is_disabled()


def test_the_slider_steps_through_the_severities_that_were_run(page):
    slider, told = page.get_by_role("slider"), page.locator("output")
    assert told.inner_text() == "0 (clean)"
    page.get_by_label("Text or id").fill("l0002")
    for severity in (1, 3):
        slider.press("ArrowRight")
        assert told.inner_text() == str(severity) == slider.get_attribute("aria-valuetext")
        edits = page.locator("#cards .row:not(.reference) .edits").all_inner_texts()
        expected = sorted(edits_of(2, place, severity) for place in range(3))
        shown = [int(text.split(" ")[0].replace("✓", "0")) for text in edits]
        assert shown == sorted(set(expected)) and shown[-1] > 0


def test_systems_that_read_the_same_share_a_row_and_can_be_hidden(page):
    page.get_by_label("Text or id").fill("l0000")  # all read it without an error
    rows = page.locator("#cards .row:not(.reference)")
    assert rows.count() == 1 and ", ".join(DECODERS) in rows.inner_text()
    page.get_by_role("checkbox", name="ctc-beam").uncheck()
    assert "ctc-greedy, ctc-ngram" in rows.inner_text()


def test_a_view_can_be_sent_as_an_address(page, browser, run):
    page.get_by_label("Writer").select_option("w1")
    page.get_by_role("slider").press("End")
    page.get_by_label("Order").select_option("high")
    with opened(browser, run, page.evaluate("location.hash")) as other:
        assert ids(other) == ids(page) and other.locator("output").inner_text() == "3"
    bad = "#lines?set=99&damage=no&severity=x&of=77&low=a&sort=q&writer=z"
    with opened(browser, run, bad) as other:
        assert found(other) == "60 / 60 lines"


# Differences


def test_differences_are_marked_and_named(browser, tmp_path):
    lines = [line("l1", "the cat sat", "the bat saat", 2), line("l2", "abc", "ac", 1)]
    store = run_of(tmp_path / "run", (row(cer=0.2), lines))
    write(store)
    with opened(browser, store) as page:
        first, second = page.locator("article").all()
        assert first.locator("mark").inner_text() == "b"
        assert first.locator("mark").get_attribute("title") == "reference: c"
        assert first.locator("ins").inner_text() == "a" and first.locator("del").count() == 0
        assert second.locator("del").inner_text() == "b"
        assert second.locator(".edits").inner_text() == "1 · 33.3 %"


def test_the_alignment_of_the_page_is_as_short_as_rapidfuzz_finds_it(browser):
    draw = random.Random(7)
    texts = ["".join(draw.choices("aab c😀é", k=draw.randrange(14))) for _ in range(600)]
    pairs = [*zip(texts[::2], texts[1::2], strict=True), ("", ""), ("a" * 50, "")]
    pairs.append(("x" * 3000, "y" * 3000 + "z"))  # too long to look for the shortest
    script = (Path(web.__file__).parent / "script/diff.js").read_text(encoding="utf-8")
    page = browser.new_page()
    page.add_script_tag(content=script)
    aligned = page.evaluate("(pairs) => pairs.map(([a, b]) => align(a, b))", pairs)
    page.close()
    for (reference, text), pieces in zip(pairs, aligned, strict=True):
        assert "".join(piece["from"] for piece in pieces) == reference
        assert "".join(piece["to"] for piece in pieces) == text
        assert all(one["from"] == one["to"] for one in pieces if one["kind"] == "same")
        changed = [one for one in pieces if one["kind"] != "same"]
        edits = sum(max(len(one["from"]), len(one["to"])) for one in changed)
        assert edits == Levenshtein.distance(reference, text) or len(reference) == 3000


# Pictures


def test_pictures_are_those_that_were_read_and_say_what_is_hidden(browser, tmp_path):
    clean = DATASETS.create("lines").load("test", 4)
    lines = [line_result(one, Decoded(one.text, 1)) for one in clean.lines]
    cells = []
    for damage in ("none", "char_erase"):
        severity = 5 if damage != "none" else 0
        made = row(
            cer=0.0,
            key=damage,
            condition=Condition("lines", "test", damage, severity, 0, 4),
            suite=SUITE if severity else "",
            dataset_sha256=clean.sha256,
            counts=replace(counts(0.0), lines=4),
        )
        cells.append((made, lines))
    store = run_of(tmp_path / "run", *cells)
    write(store, pictured=3)
    with opened(browser, store) as page:
        assert "3 of 4 lines of lines" in page.locator("#lines").inner_text()
        assert found(page) == "3 / 4 lines" and page.get_by_label("only lines with").is_checked()
        images = page.locator("#cards img")
        assert images.count() == 3
        sizes = images.evaluate_all("(all) => all.map((i) => [i.naturalWidth, i.naturalHeight])")
        assert all(width > 50 and height == 48 for width, height in sizes)
        assert page.locator("#cards .hidden").count() == 0
        before = images.first.get_attribute("src")
        page.get_by_role("slider").press("End")
        assert images.first.get_attribute("src") != before
        assert page.locator("#cards .hidden").count() > 5


def test_without_the_data_there_are_no_pictures_and_the_page_says_why(browser, tmp_path):
    store = run_of(tmp_path / "run", (row(cer=0.5, dataset="iam"), [line("l1", "ab", "ax", 1)]))
    write(store, pictured=40)
    with opened(browser, store) as page:
        assert found(page) == "1 / 1 lines" and page.locator("#cards img").count() == 0
        page.get_by_text("Why some lines have no pictures").click()
        assert "no pictures of iam: " in page.locator("#absent").inner_text()
