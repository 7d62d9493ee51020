"""report.html in a real browser: nothing is fetched, tables sort and filter, points speak, hostile text stays text."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.report import write_report
from tests.factories import make_quickstart, make_record, write_results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = ("<script>alert(1)</script>", "| ![x](javascript:1)", "=HYPERLINK(1)", '"><img src=x onerror=alert(1)>')


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep, and a task whose names and messages try to be markup."""
    folder = tmp_path_factory.mktemp("html")
    hostile = [
        replace(
            make_record("zero_shot", 0.3 + i / 10, task=said), config={"context": {"k": said}}, run_id=f"hostile-{i}"
        )
        for i, said in enumerate(HOSTILE)
    ]
    long = make_record("rag", 0.5, status="failed", error={"type": "Error", "message": "x" * 100_000})
    write_results(folder / "results", *make_quickstart(), *hostile, replace(long, run_id="long"))
    return write_report(str(folder / "results"), folder / "report").page.with_name("report.html")


def test_it_is_one_file_that_refers_to_nothing_outside(report: Path) -> None:
    text = report.read_text()
    assert not re.findall(r'(?:src|xlink:href|href)="(?!#|records\.csv|report\.html)[^"]*"', text)
    assert "url(http" not in text
    assert "default-src 'none'" in text
    assert len(text) < 4_000_000


def test_what_models_say_is_no_markup(report: Path) -> None:
    text = report.read_text()
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert not re.search(r'(?:href|src)="?\s*javascript', text)
    assert "x" * 1000 not in text, "a message of 100 kB is cut"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a Chromium: .ci/run installs it")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.wrong = []
    opened.on("request", lambda request: opened.wrong.append(request.url) if request.url != report.as_uri() else None)
    opened.on("dialog", lambda dialog: opened.wrong.append(dialog.message))
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("console", lambda said: opened.wrong.append(said.text) if said.type == "error" else None)
    opened.goto(report.as_uri())
    yield opened
    assert opened.wrong == [], "no request, no dialog, no error"
    context.close()


def main_table(page: Any) -> Any:
    return page.locator("input.filter + .table").filter(has_text="lora r32").first


def column(table: Any, number: int) -> list[str]:
    return [str(text) for text in table.locator(f"tbody tr td:nth-child({number})").all_inner_texts()]


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_it_round(page: Any) -> None:
    table = main_table(page)
    heading = table.get_by_role("button", name=re.compile("^validation"))
    position = 1 + [h.strip() for h in table.locator("th").all_inner_texts()].index("validation")
    heading.click()
    rising = [float(text) for text in column(table, position) if text[0].isdigit()]
    assert rising == sorted(rising)
    heading.press("Enter")  # from the keyboard, too
    falling = column(table, position)
    values = [float(text) for text in falling if text[0].isdigit()]
    assert values == sorted(values, reverse=True)
    assert not any(text[0].isdigit() for text in falling[len(values) :]), "what has no value comes last either way"


def test_rows_are_filtered_as_one_types(page: Any) -> None:
    table = main_table(page)
    every = table.locator("tbody tr").count()
    table.locator("xpath=preceding-sibling::input[1]").fill("lora r8")
    shown = column(table, 1)
    visible = table.locator("tbody tr:visible").count()
    assert 0 < visible < every == len(shown)
    assert all("lora r8" in text for text in table.locator("tbody tr:visible td:first-child").all_inner_texts())


def test_a_point_says_what_it_is_to_the_mouse_and_to_the_keyboard(page: Any) -> None:
    point = page.locator(".point").first
    point.hover()
    said = page.locator("#tip").inner_text()
    assert "accuracy" in said
    assert re.search(r"run \S+", said), "it names the run that it comes from"
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    point.focus()
    assert page.locator("#tip").is_visible()


def test_light_and_dark(page: Any) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("#theme").click()
    assert page.evaluate(background) != light
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert page.evaluate(background) != light, "the system's wish is followed"


def test_on_a_telephone_the_page_itself_never_scrolls_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
