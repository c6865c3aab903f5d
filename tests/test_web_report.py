"""The web report in a real Chromium: tables, plots, disagreement, looks, hostile and large runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bench.core.types import Condition
from bench.pipeline.store import RunStore
from tests.chromium import chromium
from tests.run_rows import failed, row, timing
from tests.stored_runs import run as run_of
from tests.web_pages import a_run, edits_of, found, line, opened, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HURT = "<img src=x onerror='window.hurt=1'></script><script>window.hurt=1</script>&amp;"


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


def column(page: Page, table: str, number: int) -> list[str]:
    """The texts of a column, without interval and footnotes."""
    cells = page.locator(f"{table} tbody tr > :nth-child({number})")
    texts: list[str] = cells.evaluate_all("(all) => all.map((c) => c.firstChild.textContent)")
    return [text.strip() for text in texts]


# The file


def test_the_page_is_one_file_that_asks_for_nothing(run):
    text = (run.path / "report.html").read_text(encoding="utf-8")
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.findall(r"\b(?:src|href)=\"(?!#|data:)", markup)
    assert "default-src 'none'" in text and "unsafe" not in text
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\b|fetch\(", text)


# Tables


def test_tables_sort_by_value_up_and_down_with_the_keyboard(page):
    table = "details.table >> nth=0 >> table"
    head = page.locator(f"{table} >> thead th:nth-child(3) button")
    before = column(page, "details.table:first-of-type table", 3)
    head.focus()
    page.keyboard.press("Enter")
    rising = column(page, "details.table:first-of-type table", 3)
    assert rising == sorted(before, key=float) and len(set(rising)) == 3
    page.keyboard.press("Enter")
    assert column(page, "details.table:first-of-type table", 3) == rising[::-1]
    assert page.locator(f"{table} >> th[aria-sort=descending]").count() == 1


def test_what_has_no_number_sorts_behind_all_numbers(browser, tmp_path):
    lines = [line("l1", "ab", "ax", 1), line("l2", "ab", "ab", 0, "w2")]
    store = run_of(
        tmp_path / "run",
        (row("ctc-greedy", cer=0.2), lines),
        (row("ar-beam", cer=None, weights="untrained", encoder="trocr-base"), []),
        (row("ctc-beam", cer=0.1), lines),
        (failed(decoder="ctc-kenlm"), []),
    )
    write(store)
    with opened(browser, store) as page:
        button = page.locator("details.table >> nth=0 >> thead th:nth-child(3) button")
        for order in (["10.00", "20.00"], ["20.00", "10.00"]):
            button.click()
            texts = column(page, "details.table:first-of-type table", 3)
            assert texts[:2] == order and {text[:6] for text in texts[2:]} == {"—", "failed"}
        assert "trocr-base" not in page.locator("#lines").inner_text()  # untrained: no CER


# Plots and disagreement


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


def test_the_front_has_what_no_other_beats_in_speed_and_error(browser, tmp_path):
    lines = [line("l1", "ab", "ax", 1)]
    measured = {"ctc-greedy": (10, 0.3), "ctc-beam": (20, 0.2), "ctc-ngram": (30, 0.25)}
    cells = [(row(n, cer=cer, timing=timing(rate)), lines) for n, (rate, cer) in measured.items()]
    store = run_of(tmp_path / "run", *cells)
    write(store)
    with opened(browser, store) as page:
        said = [one.get_attribute("aria-label") or "" for one in page.locator(".point").all()]
    assert [text.split(" · ")[0] for text in said] == list(measured)
    assert [text.endswith("on the Pareto front") for text in said] == [False, True, True]
    assert "20.0 lines/s, CER 20.00 %" in said[1]


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


# Looks


def test_it_fits_a_phone(browser, run):
    with opened(browser, run, viewport={"width": 360, "height": 740}, is_mobile=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        box = page.locator("article").first.locator(".read").first.bounding_box()
        assert box is not None and box["width"] > 280
        text = "document.querySelector('#curves text').getBoundingClientRect().height"
        assert page.evaluate(text) >= 12  # pixels


def test_dark_by_the_system_and_by_the_button(browser, run):
    def brightness(page: Page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    with opened(browser, run, color_scheme="dark") as page:
        assert brightness(page) < 150
        page.get_by_role("button", name="Light / dark").click()
        assert brightness(page) > 700
    with opened(browser, run, color_scheme="light") as page:
        assert brightness(page) > 700


def test_japanese(browser, run, tmp_path):
    (tmp_path / "run").mkdir()
    for path in run.path.iterdir():
        if path.name != "report.html":
            (tmp_path / "run" / path.name).symlink_to(path)
    store = RunStore(tmp_path / "run")
    write(store, "ja")
    with opened(browser, store) as page:
        assert page.evaluate("document.documentElement.lang") == "ja"
        text = page.locator("body").inner_text()
        assert "60 / 60 行" in text and "デコーダ" in text and "損傷の強さ" in text
        assert not re.search(r"\b(Writer|Severity|Order|Tables|reference|next)\b", text)


# Hostile and large runs


def test_text_of_a_run_can_do_nothing(browser, tmp_path):
    lines = [line(HURT, f"ref {HURT}", f"{HURT} \u202e\x00\ud800 read", 9, HURT)]
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
    write(store)
    with opened(browser, store) as page:
        page.get_by_role("slider").press("End")
        assert page.evaluate("window.hurt") is None and page.locator("img[src=x]").count() == 0
        assert HURT in page.locator("#cards article .read").first.inner_text()
        assert HURT in page.get_by_label("Damage", exact=True).inner_text()
        assert HURT in page.locator("details.table").first.inner_text()


_ACT = """([selector, value, event]) => {
  const control = document.querySelector(selector);
  control.value = value;
  const begin = performance.now();
  control.dispatchEvent(new Event(event));
  document.body.getBoundingClientRect();  // the layout is part of it
  return (performance.now() - begin) / 1000;
}"""


def test_five_thousand_lines_do_not_lag(browser, tmp_path):
    store = a_run(tmp_path / "run", lines=5000)
    write(store)
    with opened(browser, store) as page:
        assert found(page) == "5,000 / 5,000 lines"
        acts = (
            ("input[type=range]", "2", "input"),
            ("input[type=search]", "line 4", "input"),
            ("select[aria-label=Order]", "high", "change"),
        )
        for act in acts:
            assert page.evaluate(_ACT, act) < 0.5, act  # seconds; 0.05 on a quiet core
        assert page.locator("#cards article").count() == 25


# The command


def test_the_command_writes_the_page_alone(call, tmp_path):
    run_of(tmp_path / "run", (row(cer=0.5, dataset="iam"), [line("l1", "ab", "ax", 1)]))
    code, out, _ = call("report", str(tmp_path / "run"), "--format", "html", "--pictures", "all")
    assert code == 0 and "  report.html" in out
    assert not (tmp_path / "run/report.md").exists()


def test_a_wrong_number_of_pictures_is_told(call, tmp_path):
    run_of(tmp_path / "run", (row(cer=0.5), [line("l1", "ab", "ax", 1)]))
    code, _, err = call("report", str(tmp_path / "run"), "--pictures", "many")
    assert code == 2 and "--pictures takes a number or all, not 'many'" in err
    assert not (tmp_path / "run/report.html").exists()
