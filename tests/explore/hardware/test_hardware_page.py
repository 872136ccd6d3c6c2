"""The page of a search in a real browser: it fetches nothing, fits a phone, and follows its sliders."""

from __future__ import annotations

import json
import shutil

import pytest

from lutra.explore.hardware.verbs import explore_hardware

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")


@pytest.fixture
def page_of(tmp_path):
    def make(path):
        return explore_hardware(path, tmp_path / "out")[0] / "page.html"

    return make


def test_the_page_holds_its_data_and_no_link(write_hardware_space, page_of):
    text = page_of(write_hardware_space({'name = "ours"': 'name = "<script>alert(1)</script>"'})).read_text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "<script>alert" not in text
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert data["marked"]["name"] == "<script>alert(1)</script>"


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_follows_its_sliders_and_shows_what_is_under_the_pointer(write_hardware_space, page_of, width):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    url = page_of(write_hardware_space()).as_uri()
    messages, requests = [], []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        page.wait_for_selector("[data-point]")

        def slide(control, value):
            page.eval_on_selector(
                f"#{control}", f"(e) => {{ e.value = {value}; e.dispatchEvent(new Event('input')); }}"
            )
            return page.locator("[data-point]").count()

        def milliseconds():
            return [float(text) for text in page.locator("#rows td:nth-child(4)").all_inner_texts()]

        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#rows tr").count() == 4
        assert page.locator(".pareto").count() == 2  # the accurate one and the fast one
        assert page.locator("text=latency only: not trained").count() == 1
        whole, at_200 = slide("fraction", 80), milliseconds()
        assert slide("fraction", 12) < whole
        slide("fraction", 80)
        slide("clock", 400)
        assert milliseconds() == pytest.approx([each / 2 for each in at_200], abs=0.006)
        slide("clock", 200)
        slide("p_pe", 1)
        assert page.locator("#p_pe-value").inner_text() == "64"
        assert milliseconds() != at_200
        page.select_option("#model", label="BiT W1A1 96/384")
        assert page.locator("#rows tr").count() == 1
        page.locator("[data-point]").last.focus()
        tip = page.locator("#tip").inner_text()
        assert "BiT W1A1 96/384" in tip
        assert "accuracy 70.00, R 30.0" in tip
        assert "MHA: p_dpu, p_quan, p_vu, p_ln = " in tip
        assert "FFN: p_dpu, p_quan, p_vu, p_ln = " in tip
        page.select_option("#axis", "share")
        page.select_option("#model", "")
        slide("fraction", 5)
        assert "0 of 4 models fit" in page.locator("#summary").inner_text() or page.locator("[data-point]").count()
        browser.close()
    assert messages == []
    assert requests == [url]
