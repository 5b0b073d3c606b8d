"""A page's text -> what is on it: tags, links, ids, words and pictures; a tag that is not closed in order fails."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

CHROMIUM = Path("/usr/bin/chromium")
VOID = {"meta", "link", "img", "input", "br", "path", "use"}


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on a tag that is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.pictures, self.pixels, self.tags, self.words = [], [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img":
            self.pictures.append(given)
        if "data-pixels" in given:
            self.pixels.append(int(given["data-pixels"] or 0))
        self.links += [given[name] for name in ("href", "src", "action") if name in given]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def said(text: str) -> str:
    """All words of a page, one blank between them."""
    return " ".join(" ".join(Page(text).words).split())


def picture(given: dict[str, str]) -> Image.Image:
    """The picture in an img tag."""
    return Image.open(io.BytesIO(base64.b64decode(given["src"].split(",")[1])))
