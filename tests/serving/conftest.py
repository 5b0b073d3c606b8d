"""Chromium, the page of a server of known models, and a picture of a street to send it."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from tests.reports.reading import CHROMIUM
from tests.serving.standin import Server
from tests.serving.street import photo

ACROSS = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """`visit(models)` -> the page of a server that has them, and the server. Afterwards: nobody else was asked, no
    complaint was printed but of what the server refused, and nothing had to be scrolled sideways."""
    with ExitStack() as stack:
        pages = []

        def open_page(models, *, width=1280, **options):
            server = stack.enter_context(Server(models))
            page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
            page.set_default_timeout(10_000)
            page.asked, page.complaints = [], []
            page.on("request", lambda request: page.asked.append(request.url))
            page.on("console", lambda message: page.complaints.append(message.text))
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
            page.goto(server.url)
            page.wait_for_selector("#model option", state="attached")
            pages.append((page, server, width))
            return page, server

        yield open_page
        for page, server, width in pages:
            assert [url for url in page.asked if not url.startswith((server.url, "blob:", "data:"))] == []
            assert [said for said in page.complaints if not said.startswith("Failed to load resource")] == []
            assert page.evaluate(ACROSS) <= width
            page.context.close()


@pytest.fixture
def street(tmp_path) -> Path:
    path = tmp_path / "street.png"
    Image.fromarray(photo()).save(path)
    return path
