"""The page in Chromium: what it shows is what the server answered, pixel for pixel, and it asks nobody else."""

import base64
import io
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import segtrial as st
from segtrial import cli
from segtrial.classes import Classes
from segtrial.drawing import confidence_map, image_png
from tests import tiny
from tests.reports.reading import CHROMIUM
from tests.serving.standin import Model, Server
from tests.serving.street import (
    CLASSES,
    NAMES,
    H,
    W,
    blended,
    drawn,
    near,
    one,
    photo,
    scene,
    shifted,
    slide,
    two,
    upload,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)"),
]

DECODED = """async (png) => {
  const { bytesOf, decode } = await import('/page/png.js');
  const map = await decode(bytesOf(png));
  return JSON.stringify([map.height, map.width, [...map.values]]);
}"""


@pytest.fixture(scope="module")
def served(tiny_data, tiny_run, tmp_path_factory):
    """The address of `segtrial serve` with two trained models, and its limit in bytes."""
    folder = tmp_path_factory.mktemp("served")
    assert cli.main(tiny.words(tiny_data, folder / "other", "--seed", "5")) == 0
    words = ["serve", f"first={tiny_run}", f"other={folder / 'other'}", "--port", "0", "--max-mb", "0.1"]
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen([sys.executable, "-m", "segtrial", *words], stdout=said)
        try:
            for _ in range(600):
                found = re.search(r"at (http\S+/)", (folder / "said.txt").read_text())
                if found:
                    break
                time.sleep(0.1)
            assert found, "it never said where it listens"
            yield found[1], round(0.1 * 2**20)
        finally:
            process.terminate()
            process.wait(30)


def test_the_real_server(browser, served, tiny_run, tiny_data, tmp_path):
    """Upload, overlay, compare, download, an oversized file, a text file named .png: pixels are those of `predict`."""
    (address, most), picture = served, tiny_data / "val/images/0.png"
    st.predict(tiny_run, [picture], tmp_path / "predicted")
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    assert page.locator("#model").input_value() == "first"
    upload(page, picture)
    labels = np.asarray(Image.open(tmp_path / "predicted/0.png"))
    name, saved_labels = saved(page, "Label PNG")
    assert name == "0_first_labels.png"
    assert (np.asarray(saved_labels) == labels).all()
    assert near(drawn(page, 1), np.asarray(Image.open(tmp_path / "predicted/0_overlay.png").convert("RGB")))
    assert page.locator("#legend tbody tr").count() == len(np.unique(labels))
    page.select_option("#other", "other")
    page.wait_for_selector("#apart:not([hidden])")
    assert page.locator("#panels canvas").count() == 3
    assert said == []
    (tmp_path / "large.png").write_bytes(bytes(most + 1))
    page.set_input_files("#file", tmp_path / "large.png")
    page.wait_for_selector("text=large.png is too large")
    assert said == [], "nothing was sent"
    (tmp_path / "notes.png").write_text("dear diary, today")
    page.set_input_files("#file", tmp_path / "notes.png")
    page.wait_for_selector("text=The server refused notes.png")
    assert "starts with b'dear dia'" in page.locator("#alert").inner_text()
    page.context.close()


def test_the_answer_is_drawn_over_the_picture_and_fades_without_asking_again(visit, street):
    page, server = visit([one()])
    upload(page, street)
    assert near(drawn(page, 0), photo())
    assert near(drawn(page, 1), blended())
    for percent in (0, 25, 100):
        slide(page, percent)
        below = 1 - min(1, percent / 50) * (blended(0) != photo()).any(2)  # of what a border leaves to see
        share = 1 - (below * (1 - percent / 100))[..., None]
        colours = np.array(CLASSES.colors)[scene()]
        assert near(drawn(page, 1), photo() * (1 - share) + colours * share), percent
    assert near(drawn(page, 0), photo())
    assert [asked for asked in server.asked if asked.startswith("/predict")] == ["/predict?model=compact&answer=json"]


def test_the_legend_says_names_colours_and_shares(visit, street):
    page, _ = visit([one()])
    assert page.locator("#knows li").all_inner_texts() == list(NAMES)
    upload(page, street)
    counts = np.bincount(scene().ravel())
    rows = page.locator("#legend tbody tr").all_inner_texts()
    wanted = [f"{NAMES[i]} {100 * counts[i] / counts.sum():.1f} %" for i in np.argsort(-counts)]
    assert [" ".join(row.split()) for row in rows] == wanted
    assert page.locator("#absent").inner_text() == "Not in this picture: boat."
    painted = "all => all.map(one => getComputedStyle(one).backgroundColor)"
    colors = page.eval_on_selector_all("#legend .swatch", painted)
    assert colors == [f"rgb{CLASSES.colors[i]}" for i in np.argsort(-counts)]


def test_a_class_that_is_not_ticked_is_not_drawn(visit, street):
    page, _ = visit([one()])
    upload(page, street)
    page.uncheck("#legend input[data-name=ground]")
    slide(page, 100)
    ground = (scene() == 1)[..., None]
    colours = np.array(CLASSES.colors)[scene()]
    assert near(drawn(page, 1), np.where(ground, photo(), colours))
    page.click("#none")
    assert near(drawn(page, 1), photo())
    page.click("#all")
    assert near(drawn(page, 1), colours)


def test_confidence_is_drawn_in_the_colours_of_predict(visit, street):
    page, _ = visit([one(confidence=0.25)])
    upload(page, street)
    page.check("input[value=confidence]", force=True)
    slide(page, 100)
    assert near(drawn(page, 1), confidence_map(np.full((H, W), 0.25, np.float32)))
    assert page.locator("#scale").is_visible()


def test_two_models_side_by_side_and_where_they_differ(visit, street):
    page, _ = visit(two())
    upload(page, street)
    page.select_option("#other", "unet")
    page.wait_for_selector("#apart:not([hidden])")
    page.uncheck("#mark")
    slide(page, 100)
    plain = [drawn(page, number) for number in (1, 2)]
    assert near(plain[0], blended(1))
    assert near(plain[1], blended(1, shifted(None)))
    page.check("#mark")
    differ = scene() != shifted(None)
    for number, before in zip((1, 2), plain, strict=True):
        data = page.evaluate("n => document.querySelectorAll('#panels canvas')[n].toDataURL()", number)
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB")).astype(int)
        blocks = shown.reshape(H, shown.shape[0] // H, W, shown.shape[1] // W, 3)
        changed = (np.abs(blocks - before[:, None, :, None]).max(axis=(1, 3, 4))) > 2
        assert (changed == differ).all()
    assert page.locator("#agree").inner_text() == f"They agree on {100 * (1 - differ.mean()):.1f} % of the pixels."
    pairs = [row.split("\t") for row in page.locator("#pairs tr").all_inner_texts()]
    assert pairs[0] == ["compact", "unet", "Share of pixels"]
    most = {(a, b): ((scene() == a) & (shifted(None) == b)).mean() for a in range(4) for b in range(4) if a != b}
    (a, b), share = max(most.items(), key=lambda pair: pair[1])
    assert [NAMES[a], NAMES[b], f"{100 * share:.1f} %"] in pairs[1:]
    page.select_option("#other", "")
    assert page.locator("#apart").is_hidden()
    assert page.locator("#panels canvas").count() == 2


def test_classes_are_compared_by_name_not_by_number(visit, street):
    turned = Classes(NAMES[::-1], CLASSES.colors[::-1])
    page, _ = visit([one(), Model("turned", turned, lambda image: (3 - scene()).astype(np.uint8))])
    upload(page, street)
    page.select_option("#other", "turned")
    page.wait_for_selector("#apart:not([hidden])")
    assert page.locator("#agree").inner_text() == "They agree on 100.0 % of the pixels."


def saved(page, name: str) -> tuple[str, Image.Image]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    return waiting.value.suggested_filename, Image.open(waiting.value.path())


def test_labels_and_overlay_are_saved(visit, street):
    page, _ = visit([one()])
    upload(page, street)
    name, labels = saved(page, "Label PNG")
    assert name == "street_compact_labels.png"
    assert labels.mode == "P"
    assert (np.asarray(labels) == scene()).all()
    assert labels.getpalette()[: 3 * len(CLASSES)] == [channel for color in CLASSES.colors for channel in color]
    name, shown = saved(page, "Overlay")
    assert name == "street_compact_overlay.png"
    assert near(np.asarray(shown.convert("RGB")).astype(int), blended())
    assert page.locator("#status").inner_text() == "Saved street_compact_overlay.png."


def test_a_file_or_picture_beyond_the_limits_is_refused_before_it_is_sent(visit, tmp_path):
    page, server = visit([one()])
    (tmp_path / "heavy.png").write_bytes(bytes(200_001))
    page.set_input_files("#file", tmp_path / "heavy.png")
    page.wait_for_selector(".trouble")
    said = page.locator("#alert").inner_text()
    assert "heavy.png is too large" in said
    assert "200 kB; nothing was sent" in said
    Image.new("1", (1000, 401)).save(tmp_path / "wide.png")
    page.set_input_files("#file", tmp_path / "wide.png")
    page.wait_for_selector("text=wide.png is too large")
    assert "1000 × 401 pixels, and this server takes 400000 pixels" in page.locator("#alert").inner_text()
    assert page.get_by_role("button", name="Try again").count() == 0
    assert not [asked for asked in server.asked if asked.startswith("/predict")]


def test_a_text_file_called_png_shows_what_the_server_says(visit, street, tmp_path):
    page, _ = visit([one()])
    upload(page, street)
    (tmp_path / "notes.png").write_text("dear diary, today")
    page.set_input_files("#file", tmp_path / "notes.png")
    page.wait_for_selector(".trouble")
    said = page.locator("#alert").inner_text().split("\n\n")
    assert said == [
        "The server refused notes.png",
        "Upload: it begins with 'dear diary, ': a text file.",
        "Send a PNG, JPEG, TIFF, BMP or WebP.",
    ]
    assert page.locator("#result").is_hidden(), "an old answer would seem to be of the new file"
    upload(page, street)
    assert page.locator("#alert").inner_text() == ""


def test_a_server_that_is_gone_and_comes_back(visit, street):
    page, server = visit([one()])
    server.stop()
    page.set_input_files("#file", street)
    page.wait_for_selector("text=The server does not answer")
    server.start()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#result:not([hidden])")
    assert page.locator("#alert").inner_text() == ""
    page.complaints.clear()  # of the failed connection


def test_a_newer_picture_wins(visit, street, tmp_path):
    page, _ = visit([one(seconds=0.4)])
    Image.fromarray(photo()[::-1]).save(tmp_path / "newer.png")
    page.set_input_files("#file", street)
    page.wait_for_selector("text=Asking compact about street.png")
    page.set_input_files("#file", tmp_path / "newer.png")
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_timeout(600)
    assert page.locator("#name").inner_text() == "newer.png"
    assert near(drawn(page, 0), photo()[::-1])


def test_names_of_classes_and_files_are_words_not_markup(visit, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    classes = Classes((evil, "</script><script>alert(2)</script>"), ((0, 0, 0), (9, 9, 9)))
    page, _ = visit([Model(evil, classes, lambda image: scene() % 2), one()])
    path = tmp_path / "<b onmouseover=alert(3)>.png"
    Image.fromarray(photo()).save(path)
    upload(page, path)
    page.select_option("#other", "compact")
    page.wait_for_selector("#apart:not([hidden])")
    page.locator(".stage").nth(1).hover()
    assert evil in page.locator("#legend").inner_text()
    assert page.locator("#name").inner_text() == path.name
    assert page.locator("main img, main b, main script").count() == 0


def test_colours_are_shown_as_a_picture(visit, street):
    page, _ = visit([Model("colors", CLASSES, task="colorization"), one()])
    upload(page, street)
    assert near(drawn(page, 1), photo()[:, :, ::-1])
    assert not page.locator("#tools, #classes").filter(visible=True).count()
    name, picture = saved(page, "Coloured picture")
    assert name == "street_colors_colored.png"
    assert near(np.asarray(picture.convert("RGB")).astype(int), photo()[:, :, ::-1])
    page.mouse.move(0, 0)  # or it would point at a class in the table that now appears
    page.select_option("#other", "compact")
    page.wait_for_selector("#classes:not([hidden])")
    assert near(drawn(page, 1), photo()[:, :, ::-1])
    assert near(drawn(page, 2), blended())


def test_a_classifier_says_probabilities(visit, street):
    page, _ = visit([Model("judge", CLASSES, task="classification", shares=(0.1, 0.65, 0.25, 0.0))])
    upload(page, street)
    rows = [" ".join(row.split()) for row in page.locator("#legend tr").all_inner_texts()]
    assert rows[:4] == ["Class Probability", "ground 65.0 %", "pole 25.0 %", "sky 10.0 %"]
    assert page.locator("#panels canvas").count() == 1
    assert page.locator("#legend input, #downloads button").count() == 0


def test_a_picture_that_this_browser_cannot_draw_is_answered_all_the_same(visit, tmp_path):
    path = tmp_path / "scan.tif"
    Image.fromarray(photo()).save(path)
    page, _ = visit([one()])
    upload(page, path)
    assert "cannot draw" in page.locator("#told").inner_text()
    assert page.locator("#panels canvas").count() == 1
    _, shown = saved(page, "Overlay")
    assert near(np.asarray(shown.convert("RGB")).astype(int), blended())


def test_a_picture_that_this_browser_reads_otherwise_is_not_put_below_the_answer(visit, street):
    page, _ = visit([Model("turned", CLASSES, lambda image: np.ascontiguousarray(scene().T))])
    upload(page, street)
    assert "cannot draw" in page.locator("#told").inner_text()
    assert page.locator("#panels canvas").count() == 1


def test_a_picture_chosen_before_the_server_was_there(browser, street):
    page = browser.new_context().new_page()
    page.set_default_timeout(10_000)
    with Server([one()]) as server:
        page.route("**/models", lambda route: route.abort())
        page.goto(server.url)
        page.wait_for_selector("text=The server does not answer")
        page.set_input_files("#file", street)
        page.wait_for_selector("text=The server does not answer")
        page.unroute("**/models")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector("#result:not([hidden])")
        assert near(drawn(page, 1), blended())
        page.context.close()


def test_dropped_and_pasted_pictures(visit):
    page, _ = visit([one()])
    data = base64.b64encode(image_png(photo().transpose(2, 0, 1))).decode()
    program = """([data, kind, key, name]) => {
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      const held = new DataTransfer();
      held.items.add(new File([bytes], name, { type: "image/png" }));
      const Kind = kind === "drop" ? DragEvent : ClipboardEvent;
      document.body.dispatchEvent(new Kind(kind, { [key]: held, bubbles: true, cancelable: true }));
    }"""
    for kind, key in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(program, [data, kind, key, f"{kind}ed.png"])
        page.wait_for_selector(f"#name:text('{kind}ed.png')")
        assert near(drawn(page, 1), blended())


@pytest.mark.parametrize("kind", ["smooth", "noise", "steps"])
def test_numbers_in_a_png_are_read_as_they_are(visit, kind):
    """Pillow chooses a filter for each row of a grey picture: together the three kinds have all five."""
    rows, columns = np.indices((37, 53))
    noise = np.random.default_rng(0).integers(0, 256, (37, 53))
    values = {"smooth": rows * 3 + columns * 2, "noise": noise, "steps": (rows // 5) * 40 + noise % 3}[kind] % 256
    page, _ = visit([one()])
    png = base64.b64encode(image_png(values.astype(np.uint8)[None])).decode()
    read = page.evaluate(DECODED, png)
    height, width, numbers = json.loads(read)
    assert (np.array(numbers).reshape(height, width) == values).all()
