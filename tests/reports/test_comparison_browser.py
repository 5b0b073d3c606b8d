"""The page of a real comparison in Chromium: it asks nobody, fits a phone and paper, and its figures have words."""

import pytest

from segtrial.reports import comparison_report
from tests.comparison import trial
from tests.reports.reading import CHROMIUM

PHONE, PAPER = 360, 718
"""Pixels: a small phone, and A4 without margins of 10 mm."""
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, pre"))
    .map(one => `${one.tagName}.${one.className}`)"""
CUT = """() => [...document.querySelectorAll("main *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => `${one.tagName}.${one.className}`)"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Three variants, tuned, with curves and images; its page."""
    out = tmp_path_factory.mktemp("browser") / "a comparison"
    base = {**trial.BASE, "steps": 6, "evaluations": 3, "data": "toytown:scenes=8,frames=2,size=32x32"}
    variants = {**trial.VARIANTS, "a-network-with-a-long-name": {"model": "unet:width=2"}}
    trial.compared(out, base=base, variants=variants, tune={"trials": 2, "seeds": 1, "lr": [0.01, 0.1]})
    return comparison_report.write(out)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)")
def test_the_page_of_a_comparison_is_whole_and_readable_everywhere(compared):
    from playwright.sync_api import sync_playwright

    asked, complaints = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(compared.as_uri())
        for width in (1280, PHONE):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0 && one.alt)")
        named = "[...document.querySelectorAll('svg, .dots')].map(one => one.getAttribute('aria-label') || '')"
        labels = page.evaluate(named)
        assert len(labels) >= 8, "two curves, rates, two costs, three rows of dots"
        assert all(labels)
        assert page.evaluate("document.querySelectorAll('svg:not([role=img])').length") == 0
        page.emulate_media(media="print")
        page.set_viewport_size({"width": PAPER, "height": 1000})
        assert page.evaluate(CUT) == [], "what is cut off on paper cannot be scrolled to"
        assert page.locator("nav").is_hidden()
        assert page.get_by_role("heading", name="Verdict", exact=True).is_visible()
        browser.close()
    assert {url for url in asked if not url.startswith("data:")} == {compared.as_uri()}
    assert complaints == []
