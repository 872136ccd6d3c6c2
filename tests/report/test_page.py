"""The report's page in a real browser: nothing is fetched, nothing is logged, nothing sticks out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from fabricated_run import make_finished_run, make_started_run
from lutra.report.build import report_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    files, recipe = make_finished_run(tmp_path_factory.mktemp("report") / "finished")
    report_run(files, recipe)
    return files


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_everything_without_network_or_overflow(browser, finished, width, scheme):
    messages, requests = [], []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(finished.report.as_uri())

    assert messages == []
    assert requests == [finished.report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    figures = [figure for figure in page.query_selector_all("svg[role=img]") if figure.is_visible()]
    assert len(figures) == 2
    for figure in figures:
        box = figure.bounding_box()
        assert box["x"] >= 0
        assert box["width"] > 0.7 * min(width, 900)
        assert box["height"] > 100
        assert figure.get_attribute("aria-label")
    for text in page.query_selector_all("svg[role=img]:visible text"):
        assert text.bounding_box()["height"] > 9, "too small to read"
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (_brightness(ink) > _brightness(paper)) == (scheme == "dark")
    page.close()


def _brightness(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3])


@needs_chromium
def test_the_page_of_a_run_that_has_just_started_says_what_is_missing(browser, tmp_path):
    files, recipe = make_started_run(tmp_path)
    assert report_run(files, recipe)["not_run"] == ["learning", "sample", "proof", "block", "cost"]
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(files.report.as_uri())
    assert page.locator(".missing").count() == 5
    assert page.locator("svg").count() == 0
    assert "has not been evaluated yet" in page.locator(".lead").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
