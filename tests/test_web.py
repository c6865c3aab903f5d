"""The web report in a real Chromium: tables, plots, lines, pictures, hostile and large runs."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from bench.analysis import pictures as module
from bench.analysis.pictures import pictures
from bench.core.hashing import plain
from bench.core.types import Condition, Decoded, LineSet, Row
from bench.pipeline.cells import line_result
from bench.pipeline.store import RunStore
from bench.report import web
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.base import SUITE, damaged_lines
from datasets.lines import RenderedLines
from datasets.manifest import ManifestLines
from tests.run_rows import counts, failed, read_line, row
from tests.stored_runs import run as run_of
from tests.web_pages import a_run, chromium, edits_of, found, ids, opened, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HURT = "<img src=x onerror='window.hurt=1'></script><script>window.hurt=1</script>&amp;"
DECODERS = ("ctc-greedy", "ctc-beam", "ctc-ngram")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = a_run(tmp_path_factory.mktemp("web") / "my run", DECODERS)
    write(store)
    return store


@pytest.fixture
def page(browser: Browser, run: RunStore) -> Iterator[Page]:
    with opened(browser, run, viewport={"width": 1200, "height": 800}) as page:
        yield page


def test_the_page_is_one_file_that_asks_for_nothing(run):
    text = (run.path / "report.html").read_text(encoding="utf-8")
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.findall(r"\b(?:src|href)=\"(?!#|data:)", markup)
    assert "default-src 'none'" in text and "unsafe" not in text
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\b|fetch\(", text)


# Tables, plots and disagreement


def test_tables_sort_by_value_and_what_has_no_number_stands_behind(browser, tmp_path):
    lines = [read_line("l1", "ab", "ax"), read_line("l2", "ab", "ab", "w2")]
    store = run_of(
        tmp_path / "run",
        (row("ctc-greedy", cer=0.2), lines),
        (row("ar-beam", cer=None, weights="untrained", encoder="trocr-base"), []),
        (row("ctc-beam", cer=0.1), lines),
        (failed(decoder="ctc-kenlm"), []),
    )
    write(store)
    with opened(browser, store) as page:
        page.locator("details.table >> nth=0 >> thead th:nth-child(3) button").focus()
        for order in (["10.00", "20.00"], ["20.00", "10.00"]):
            page.keyboard.press("Enter")
            cells = page.locator("details.table:first-of-type tbody tr > :nth-child(3)")
            texts = cells.evaluate_all("(all) => all.map((c) => c.firstChild.textContent.trim())")
            assert texts[:2] == order and {text[:6] for text in texts[2:]} == {"—", "failed"}
        assert page.locator("details.table >> nth=0 >> th[aria-sort=descending]").count() == 1
        assert "trocr-base" not in page.locator("#lines").inner_text()  # untrained: no CER


def test_plots_speak_hide_systems_and_lead_to_the_lines(page):
    points = page.locator("#curves .point")
    assert points.count() == 9 and page.locator("#curves .line").count() == 3
    page.get_by_role("group", name="Systems").first.get_by_role("button", name="ctc-beam").click()
    assert points.count() == 6
    points.last.focus()
    said = page.locator("#curves .live").inner_text()
    assert said.startswith("ctc-ngram · severity 3: CER ") and "[" in said
    points.last.press("Enter")
    assert page.locator("output").inner_text() == "3"
    assert page.get_by_label("CER of").locator("option:checked").inner_text() == "ctc-ngram"
    labels = [p.get_attribute("aria-label") or "" for p in page.locator("#speeds .point").all()]
    assert [text.split(" · ")[0] for text in labels] == list(DECODERS)
    # Each is faster than the one before it, and misreads more.
    assert all(text.endswith("on the Pareto front") for text in labels)


def test_disagreement_counts_lines_and_leads_to_them(page):
    page.get_by_role("slider").press("End")
    greedy, beam, ngram = ([edits_of(n, place, 3) for n in range(60)] for place in range(3))
    better = sum(a < b for a, b in zip(greedy, ngram, strict=True))
    alone = sum(b == 0 < min(a, c) for a, b, c in zip(greedy, beam, ngram, strict=True))
    rows = [text.split("\t") for text in page.locator("#pairs tbody").inner_text().split("\n")]
    table = {cells[0]: cells[1:] for cells in rows}
    assert table["ctc-beam"][:2] == [str(beam.count(0)), str(alone)] and alone > 0
    assert table["ctc-greedy"][2:] == ["·", table["ctc-greedy"][3], str(better)] and better > 0
    page.get_by_role("button", name=f"ctc-greedy < ctc-ngram: {better} lines").click()
    assert found(page) == f"{better} / 60 lines"
    page.get_by_role("button", name="✕").click()
    assert found(page) == "60 / 60 lines"


# Lines


def test_filters_order_and_pages(page):
    assert found(page) == "60 / 60 lines"
    page.get_by_label("Writer").select_option("w1")
    assert found(page) == "10 / 60 lines" and ids(page)[0] == "l0001"
    page.get_by_label("Text or id").fill("LINE 13")
    assert ids(page) == ["l0013"]
    page.get_by_label("Text or id").fill("")
    page.get_by_label("Writer").select_option("")
    page.get_by_label("CER of").select_option(label="ctc-ngram")
    cers = {f"l{n:04}": edits_of(n, 2, 0) / len(f"line {n} of the test") for n in range(60)}
    page.get_by_label("Order").select_option("high")
    expected = sorted(cers, key=lambda name: (-cers[name], name))
    page.get_by_role("button", name="next").press("Enter")
    assert ids(page) == expected[25:50]
    page.get_by_label("CER in % from").fill("20")
    page.get_by_label("CER in % to").fill("30")
    assert ids(page) == [name for name in expected if 0.2 <= cers[name] <= 0.3][:25]


def test_the_slider_steps_through_severities_and_equal_texts_share_a_row(page):
    slider, output = page.get_by_role("slider"), page.locator("output")
    rows = page.locator("#cards .row:not(.reference)")
    assert output.inner_text() == "0 (clean)"
    page.get_by_label("Text or id").fill("l0000")  # all read it without an error
    assert rows.count() == 1 and ", ".join(DECODERS) in rows.inner_text()
    page.get_by_role("checkbox", name="ctc-beam").uncheck()
    assert "ctc-greedy, ctc-ngram" in rows.inner_text()
    page.get_by_role("checkbox", name="ctc-beam").check()
    page.get_by_label("Text or id").fill("l0002")
    for severity in (1, 3):
        slider.press("ArrowRight")
        assert output.inner_text() == str(severity) == slider.get_attribute("aria-valuetext")
        edits = rows.locator(".edits").all_inner_texts()
        shown = [int(text.split(" ")[0].replace("✓", "0")) for text in edits]
        assert shown == sorted({edits_of(2, place, severity) for place in range(3)})


def test_a_view_can_be_sent_as_an_address(page, browser, run):
    page.get_by_label("Writer").select_option("w1")
    page.get_by_role("slider").press("End")
    with opened(browser, run, page.evaluate("location.hash")) as other:
        assert ids(other) == ids(page) and other.locator("output").inner_text() == "3"
    bad = "#lines?set=99&damage=no&severity=x&of=77&low=a&sort=q&writer=z"
    with opened(browser, run, bad) as other:
        assert found(other) == "60 / 60 lines"


def test_differences_are_marked_and_pictures_absent_for_a_reason(browser, tmp_path):
    lines = [read_line("l1", "the cat sat", "the bat saat"), read_line("l2", "abc", "ac")]
    store = run_of(tmp_path / "run", (row(cer=0.2, dataset="iam"), lines))
    write(store, pictured=40)
    with opened(browser, store) as page:
        first, second = page.locator("article").all()
        assert first.locator("mark").get_attribute("title") == "reference: c"
        assert first.locator("ins").inner_text() == "a" and first.locator("del").count() == 0
        assert second.locator("del").inner_text() == "b"
        assert second.locator(".edits").inner_text() == "1 · 33.3 %"
        page.get_by_text("Why some lines have no pictures").click()
        assert "no pictures of iam: " in page.locator("#absent").inner_text()


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


def test_pictures_are_those_that_were_read_and_say_what_is_hidden(browser, tmp_path):
    clean = DATASETS.create("lines").load("test", 4)
    lines = [line_result(one, Decoded(one.text, 1)) for one in clean.lines]
    shared: dict[str, Any] = {"cer": 0.0, "dataset_sha256": clean.sha256}
    shared |= {"counts": replace(counts(0.0), lines=4)}
    plain = row(key="none", condition=Condition("lines", limit=4), **shared)
    damaged = Condition("lines", "test", "char_erase", 5, 0, 4)
    erased = row(key="char_erase", condition=damaged, suite=SUITE, **shared)
    store = run_of(tmp_path / "run", (plain, lines), (erased, lines))
    write(store, pictured=3)
    with opened(browser, store) as page:
        assert "3 of 4 lines of lines" in page.locator("#lines").inner_text()
        assert found(page) == "3 / 4 lines" and page.get_by_label("only lines with").is_checked()
        images = page.locator("#cards img")
        sizes = images.evaluate_all("(all) => all.map((i) => [i.naturalWidth, i.naturalHeight])")
        assert len(sizes) == 3 and all(width > 50 and height == 48 for width, height in sizes)
        assert page.locator("#cards .hidden").count() == 0
        before = images.first.get_attribute("src")
        page.get_by_role("slider").press("End")
        assert images.first.get_attribute("src") != before
        assert page.locator("#cards .hidden").count() > 5


# Looks, languages, hostile and large runs


def test_it_fits_a_phone_and_the_dark(browser, run):
    look: dict[str, Any] = {
        "viewport": {"width": 360, "height": 740},
        "is_mobile": True,
        "color_scheme": "dark",
    }
    with opened(browser, run, **look) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        text = "document.querySelector('#curves text').getBoundingClientRect().height"
        assert page.evaluate(text) >= 12  # pixels
        for dark in (True, False):
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 150) == dark
            page.get_by_role("button", name="Light / dark").click()


def test_japanese_and_text_of_a_run_can_do_nothing(browser, tmp_path):
    lines = [read_line(HURT, f"ref {HURT}", f"{HURT} \u202e\x00\ud800 read", HURT)]
    hostile: dict[str, Any] = {
        "condition": Condition(HURT, "test", HURT, 3),
        "signature": HURT,
        "key": "k2",
        "dataset_sha256": f"{HURT:0<16}",
    }
    store = run_of(
        tmp_path / "run",
        (row(HURT, HURT, cer=0.5, encoder=HURT, key="k1", signature=f"e:{HURT}"), lines),
        (row(HURT, cer=0.5, encoder=HURT, **hostile), lines),
        (failed(decoder="ctc-kenlm", reason=HURT), []),
    )
    write(store, "ja")
    with opened(browser, store) as page:
        page.get_by_role("slider").press("End")
        assert page.evaluate("window.hurt") is None and page.locator("img[src=x]").count() == 0
        assert HURT in page.locator("#cards article .read").first.inner_text()
        assert HURT in page.locator("details.table").first.inner_text()
        assert page.evaluate("document.documentElement.lang") == "ja"
        text = page.locator("body").inner_text()
        assert "1 / 1 行" in text and "デコーダ" in text and "損傷の強度" in text
        assert not re.search(r"\b(Writer|Severity|Order|Tables|reference|next)\b", text)


_ACT = """([selector, value, event]) => {
  const control = document.querySelector(selector);
  control.value = value;
  const begin = performance.now();
  control.dispatchEvent(new Event(event));
  document.body.getBoundingClientRect();  // the layout is part of it
  return (performance.now() - begin) / 1000;
}"""


def test_many_lines_do_not_lag(browser, tmp_path):
    store = a_run(tmp_path / "run", DECODERS[:1], lines=4000)
    write(store)
    with opened(browser, store) as page:
        assert found(page) == "4,000 / 4,000 lines"
        acts = (
            ("input[type=search]", "line 4", "input"),
            ("select[aria-label=Order]", "high", "change"),
        )
        for act in acts:
            assert page.evaluate(_ACT, act) < 0.5, act  # seconds; 0.05 on a quiet core
        assert page.locator("#cards article").count() == 25


# The images of a row are those that its system read, or none and why


@pytest.fixture(scope="module")
def clean() -> LineSet:
    return RenderedLines().load("test", 6)


def _row(clean: LineSet, damage: str = "none", severity: int = 0) -> Row:
    condition = Condition("lines", "test", damage, severity, seed=3 * bool(severity), limit=6)
    suite = SUITE if severity else ""
    return row(condition=condition, dataset_sha256=clean.sha256, suite=suite)


# What shows through in bleed-through is another line of the set.
@pytest.mark.parametrize("damage", ["none", "char_erase", "bleed_through", "warp"])
def test_pictures_are_the_lines_that_were_read(clean, damage):
    severity = 4 if damage != "none" else 0
    if severity:
        expected = list(damaged_lines(DAMAGES.create(damage), clean.lines, "lines", 4, 3))
        lines, masked = [one.line for one in expected], expected[0].mask is not None
    else:
        lines, masked = list(clean.lines), False
    asked = [lines[5].id, lines[0].id]
    found = pictures(_row(clean, damage, severity), [*asked, "nobody"]).by_id
    assert list(found) == asked
    for line in (lines[5], lines[0]):
        picture = found[line.id]
        assert picture.boxes is not None and line.boxes is not None
        np.testing.assert_array_equal(picture.image, line.image)
        np.testing.assert_array_equal(picture.boxes, line.boxes)
        if masked:
            assert picture.visible is not None and np.nanmin(picture.visible) < 0.2
            assert picture.visible.shape == (len(picture.text),)
        else:
            assert picture.visible is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"condition": Condition("nowhere")}, "no data set is called 'nowhere'"),
        ({"dataset_sha256": ""}, "did not load"),
        ({"dataset_sha256": "0" * 64}, "changed since it was read"),
        ({"suite": "kaidoku-damage-0"}, "kaidoku-damage-0"),
    ],
)
def test_without_pictures_the_reason_is_named(clean, changed, why):
    found = pictures(dataclasses.replace(_row(clean, "blot", 2), **changed), [clean.lines[0].id])
    assert not found.by_id and why in found.absent


def test_options_of_the_set_are_heeded(tmp_path: Path):
    image = np.full((32, 200), 255, np.uint8)
    image[10:20, 20:180] = 0
    cv2.imwrite(str(tmp_path / "a.png"), image)
    table = tmp_path / "set.csv"
    table.write_text("image,text,id,split\na.png,some text,one,test\n")
    sha256 = ManifestLines(path=table).load("test").sha256
    options = plain({"path": table})
    read = row(dataset="manifest", dataset_sha256=sha256, dataset_options=options)
    np.testing.assert_array_equal(pictures(read, ["one"]).by_id["one"].image, image)
    table.unlink()
    module._loaded.cache_clear()
    assert str(table) in pictures(read, ["one"]).absent
