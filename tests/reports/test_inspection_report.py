"""The page of an inspection shows what was found, also of broken files, asks nobody for anything and trusts no name."""

import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segtrial import cli
from segtrial.data.masks import Encoding, pack
from segtrial.data.sample import Item
from segtrial.errors import RunError
from segtrial.inspection import inspect
from segtrial.reports import inspection_report
from segtrial.reports.inspection_pictures import shrunk, strangers
from segtrial.reports.inspection_words import looks
from tests.data.drawn import labels, photo, scene
from tests.data.test_bad_inputs import png
from tests.data.test_labelme import SQUARE, written
from tests.data.test_npz_pairs import pairs as npz_pairs
from tests.reports.reading import CHROMIUM, Page, picture, said

HOSTILE = '"><script>alert(1)<\\script>'
MASK = labels([0, 1, 2], (48, 64))


def pairs(number: int = 5, mask: np.ndarray = MASK) -> dict:
    images = {f"images/{n}.png": scene(n, (48, 64)) for n in range(number)}
    return images | {f"masks/{n}.png": mask for n in range(number)}


BROKEN = {
    "images/0.png": b"",
    "images/1.png": "<!DOCTYPE html>",
    "masks/2.png": png(64, 48),
    "images/bomb.png": png(60000, 60000),
    "images/alone.png": photo(7, (48, 64)),
    f"images/{HOSTILE}.png": scene(8, (48, 64)),
    f"masks/{HOSTILE}.png": labels([0, 1], (24, 32)),
    "images/float.tif": Image.fromarray(np.linspace(-1, 2, 48 * 64, dtype=np.float32).reshape(48, 64)),
    "masks/float.tif": MASK,
    "images/clear.png": Image.fromarray(np.dstack([photo(1, (48, 64)), labels([255, 9], (48, 64))])),
    "masks/clear.png": MASK,
    "classes.txt": f"sky\n{HOSTILE}\ntree\n",
}


@pytest.fixture
def broken(make, cache):
    root = make(pairs(9) | BROKEN)
    os.mkfifo(root / "images" / "pipe.png")
    (root / "masks" / "5.png").unlink()
    (root / "masks" / "5.png").symlink_to(root / "nowhere.png")
    return inspect(root, cache=cache)


def of(inspection, tmp_path) -> str:
    """The page's text, as it is written."""
    return inspection_report.write(inspection, tmp_path / "page.html").read_text()


def shown_with(text: str, code: str) -> list[dict[str, str]]:
    """The pictures of one finding."""
    (card,) = [one for one in text.split("<article")[1:] if f"<code>{code}</code>" in one]
    return Page(f"<article{card.split('</article>')[0]}</article>").pictures


def test_broken_files_have_a_page_that_says_why_they_are_not_shown(broken, tmp_path):
    text = of(broken, tmp_path)
    words = said(text)
    for reason in ("empty file (0 bytes)", "not a picture but text", "truncated or damaged", "too large to decode"):
        assert text.count(f'<p class="unseen">{reason}') >= 1, reason
    assert "it is a pipe" in words
    assert "broken link" in words
    alts = [one["alt"] for one in Page(text).pictures]
    assert any(alt.endswith("images/alone.png") for alt in alts)  # what pairs with nothing
    assert {"Image images/float", "Image images/clear"} <= set(alts)  # floats and transparency can be looked at


def test_every_finding_is_there_with_its_severity_files_and_fix(broken, tmp_path):
    words = squeezed(said(of(broken, tmp_path)))
    assert broken.failed
    for one in broken.findings:
        read = one.code == "layout.read"  # has no fix but the one for all
        for text in (one.message,) if read else (f"{one.severity}{one.code}", one.message, one.fix, *one.files):
            assert squeezed(text) in words, text


def squeezed(text: str) -> str:
    """Without blanks and backticks, which a page turns into tags."""
    return re.sub(r"[\s`]", "", text)


def test_hostile_names_are_only_text(broken, tmp_path):
    text = of(broken, tmp_path)
    page = Page(text)
    assert HOSTILE in " ".join(page.words)
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "form"} == set()
    assert "script-src 'none'" in text


def test_names_that_are_no_text_are_written(make, cache, tmp_path):
    root = make(pairs())
    name = os.fsdecode(b"images/a\xff.png")
    try:
        (root / name).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert "a\N{REPLACEMENT CHARACTER}.png" in of(inspect(root, cache=cache), tmp_path)


def test_nothing_on_the_page_is_elsewhere_and_links_arrive(broken, tmp_path):
    text = of(broken, tmp_path)
    page = Page(text)
    assert not re.search(r"@import|url\(|https?:", text)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_pictures_have_words_and_the_size_they_say(broken, tmp_path):
    shown = Page(of(broken, tmp_path)).pictures
    assert len(shown) > 12
    for one in shown:
        assert picture(one).size == (int(one["width"]), int(one["height"]))
        assert len(one["alt"]) > 5


def test_equal_data_give_an_equal_page(broken, tmp_path):
    assert of(broken, tmp_path) == of(broken, tmp_path)


def test_classes_have_their_shares(make, cache, tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[:24, :32] = 1  # a quarter
    empty = np.zeros_like(mask)
    found = inspect(make(pairs(5, empty) | {"masks/3.png": mask, "classes.txt": "road\ncar\n"}), cache=cache)
    words = said(of(found, tmp_path))
    assert "0 road 95.0 % 100.0 % 1 car 5.0 % 20.0 %" in words
    assert "train" in words


def test_both_images_of_a_leak_stand_side_by_side(make, cache, tmp_path):
    files = {f"train/images/{n}.png": scene(n, (48, 64)) for n in range(4)}
    files |= {f"val/images/{n}.png": scene(n, (48, 64)) for n in range(10, 13)} | {
        "val/images/again.png": files["train/images/2.png"]
    }
    masks = {name.replace("images", "masks"): MASK for name in files}
    other = MASK.copy()
    other[:12] = (MASK[:12] + 1) % 3
    found = inspect(make(files | masks | {"val/masks/again.png": other}), cache=cache)
    text = of(found, tmp_path)
    first, second = shown_with(text, "duplicate.across")
    assert [first["alt"], second["alt"]] == ["Image val/images/again", "Image train/images/2"]
    assert picture(first).tobytes() == picture(second).tobytes()
    apart = shown_with(text, "duplicate.masks")[-1]
    assert apart["alt"] == "In red where the masks differ: 25.0 %"
    red = np.asarray(picture(apart).convert("RGB")).astype(int)
    assert (red[:10, :, 0] > 200).mean() > 0.9
    assert (red[14:, :, 0] > 200).mean() < 0.02


def test_pixels_of_no_class_are_marked(make, cache, tmp_path):
    colored = np.array([(255, 0, 0), (0, 0, 255)], np.uint8)[labels([0, 1], (48, 64))]
    strange = colored.copy()
    strange[:24, :32] = (9, 99, 9)
    files = pairs(5, colored) | {"masks/2.png": strange, "label_colors.txt": "255 0 0 sky\n0 0 255 road\n"}
    text = of(inspect(make(files), cache=cache), tmp_path)
    image, mask = shown_with(text, "mask.unknown_colors")
    assert (image["alt"], mask["alt"]) == ("Image images/2", "Mask; marked in red: 25.0 % of its pixels")
    red = np.asarray(picture(mask).convert("RGB"))[:, :, 0] > 200
    assert red[:22, :30].mean() > 0.95
    assert red[26:].mean() < 0.02


def test_a_mask_of_another_size_is_shown_without_an_overlay(make, cache, tmp_path):
    files = pairs() | {"masks/2.png": labels([0, 1], (24, 32))}
    text = of(inspect(make(files), cache=cache), tmp_path)
    assert len(shown_with(text, "mask.size")) == 2
    assert "the mask is 24x32, the image 48x64" in said(text)


def test_masks_that_nobody_understands_are_shown_as_they_are(make, cache, tmp_path):
    found = inspect(make(pairs(5, labels([3], (48, 64)))), cache=cache)
    assert found.dataset is None
    text = of(found, tmp_path)
    assert "Cannot be trained on as it is" in text
    assert any(one["alt"].startswith("Mask: as it is") for one in Page(text).pictures)


def test_pictures_of_whole_classes_have_their_class(make, cache, tmp_path):
    files = {f"{kind}/{n}.png": scene(n + 10 * len(kind)) for kind in ("cat", "horse") for n in range(4)}
    words = said(of(inspect(make(files), cache=cache), tmp_path))
    assert re.search(r"horse/\d (train|val): horse image", words)
    assert "overlay" not in words


def test_generated_pictures_have_a_page(cache, tmp_path):
    text = of(inspect("toytown:scenes=2,frames=2,size=32x48", cache=cache), tmp_path)
    assert len([one for one in Page(text).pictures if one["alt"].startswith("The mask over")]) == 4
    assert "generated (4)" in said(text)


def test_pictures_take_no_more_of_a_page_than_they_may(make, cache, tmp_path, monkeypatch):
    """Noise is the worst that an encoder of photographs can meet."""
    assert inspection_report.MOST_IN_FINDINGS + inspection_report.MOST_IN_SHEET < 2_800_000
    monkeypatch.setattr(inspection_report, "MOST_IN_FINDINGS", 30_000)
    monkeypatch.setattr(inspection_report, "MOST_IN_SHEET", 50_000)
    noise = {f"{folder}/{n}.png": photo(n, (96, 96)) for n in range(5) for folder in ("images", "images/lone")}
    text = of(
        inspect(make(noise | {f"masks/{n}.png": labels([0, 1, 2], (96, 96)) for n in range(5)}), cache=cache), tmp_path
    )
    assert sum(len(one["src"]) for one in shown_with(text, "pair.missing")) <= 30_000
    assert 40_000 < sum(len(one["src"]) for one in Page(text).pictures) <= 80_000
    assert re.search(r"Shown: [1-4] of 5\.", said(text))


@given(st.lists(st.integers(0, 400), min_size=1, max_size=4))
def test_the_contact_sheet_is_evenly_spread(sizes):
    parts = {str(part): [Item(f"{part}/{n}", "") for n in range(size)] for part, size in enumerate(sizes)}
    chosen = inspection_report.spread(parts)
    everything = [item for items in parts.values() for item in items]
    assert chosen == [item for item in everything if item in chosen]  # in order, each once
    assert len(chosen) <= inspection_report.SPREAD + 2 * len(sizes)
    assert len(chosen) >= min(len(everything), inspection_report.SPREAD - len(sizes))
    for items in parts.values():
        places = [place for place, item in enumerate(items) if item in chosen]
        assert len(places) >= min(2, len(items))
        gaps = np.diff([-1, *places, len(items)])
        assert gaps.max() <= 1 + len(items) / max(1, len(places))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16))
def test_shrunk_labels_are_labels(height, width, seed):
    whole = np.random.default_rng(seed).choice(np.array([0, 1, 7, 255], np.uint8), (30, 30))
    result = shrunk(whole, (width, height))
    assert result.shape == (height, width)
    assert set(np.unique(result)) <= set(np.unique(whole))


def test_thin_things_stay_visible():
    whole = np.zeros((800, 800), np.uint8)
    whole[:, 401] = 1
    assert (shrunk(whole, (200, 200))[:, 100] == 1).all()
    assert (shrunk(whole, (200, 200)) == 1).mean() <= 0.01
    np.testing.assert_array_equal(shrunk(whole, (800, 800)), whole)


@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=5, unique=True),
    st.integers(0, 2**16),
    st.floats(0, 300),
)
def test_strangers_are_those_that_are_far_from_every_color(colors, seed, limit):
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3))
    pixels[0, : len(colors)] = colors
    numbers = np.array([[pack(tuple(color)) for color in row] for row in pixels.tolist()])
    apart = np.linalg.norm(pixels[:, :, None] - np.array(colors), axis=-1).min(-1)
    expected = apart > limit
    encoding = Encoding(None, dict.fromkeys(colors, 0))
    np.testing.assert_array_equal(strangers(numbers, encoding, limit), expected)


LAYERS = {f"images/{n}.png": photo(n) for n in range(3)}
LAYERS |= {f"masks/{name}/{n}.png": labels([0, 255]) for name in "ab" for n in range(3)}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (LAYERS, "a file for each class or object (3)"),
        (npz_pairs(image=photo, mask=labels([0, 1, 2])), "arrays (4)"),
        ({"a.png": photo(1), "a.json": written("a.png", SQUARE), "b.png": photo(2), "b.json": written("b.png", SQUARE)},
         "drawn from outlines (2)"),
        (pairs(4), "PNG L (4)"),
    ],
    ids=["layers", "arrays", "outlines", "files"],
)  # fmt: skip
def test_it_is_said_how_masks_come(make, cache, source, words):
    found = inspect(make(source), cache=cache)
    assert dict(looks(found))["masks"] == words


def test_the_command_writes_the_page(make, own_cache, capsys, tmp_path):
    root, page = make(pairs() | {"images/0.png": b""}), tmp_path / "page.html"
    assert cli.main(["inspect", str(root), "--report", str(page)]) == 2
    assert f"Page    {page}" in capsys.readouterr().out
    assert "image.empty" in said(page.read_text())
    assert cli.main(["inspect", str(root), "--report", str(page), "--json"]) == 2
    assert capsys.readouterr().out.startswith("{")


def test_a_page_is_written_over_no_other_file(make, own_cache, capsys, tmp_path):
    mine = tmp_path / "data.yaml"
    mine.write_text("mine")
    assert cli.main(["inspect", str(make(pairs())), "--report", str(mine)]) == 2
    assert "a page must end in .html" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    with pytest.raises(RunError, match="cannot be written"):
        inspection_report.write(inspect(tmp_path / "set"), tmp_path / "data.yaml" / "page.html")


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)")
def test_a_browser_asks_nobody_complains_of_nothing_and_need_not_scroll_sideways(broken, tmp_path):
    from playwright.sync_api import sync_playwright

    of(broken, tmp_path)
    asked, complaints = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width, scheme in ((1280, "light"), (390, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda dialog: complaints.append(dialog.message))
            page.goto((tmp_path / "page.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (np.mean([int(part) for part in re.findall(r"\d+", ground)[:3]]) > 128) == (scheme == "light")
        browser.close()
    assert {url for url in asked if not url.startswith("data:")} == {(tmp_path / "page.html").as_uri()}
    assert complaints == []
