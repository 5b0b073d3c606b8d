"""Two trained networks -> docs/figures/page.png: the page of `segtrial serve`, comparing them, in Chromium.

    python docs/figures/draw_page.py [PATH OF CHROMIUM]

Serves the networks that draw_first.py trained on generated street scenes (run it first), and sends their page a picture
of such a street.
"""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from segtrial.data import open_dataset
from segtrial.drawing import image_png

ROOT = Path(__file__).parents[2]
RUNS = ("compact", "unet")
SCENE = 9
WIDTH, HEIGHT = 1180, 1010


def main(chromium: str = "/usr/bin/chromium") -> None:
    runs = [str(ROOT / "runs/first" / name) for name in RUNS]
    words = [sys.executable, "-m", "segtrial", "serve", *runs, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server, tempfile.TemporaryDirectory() as folder:
        assert server.stdout is not None
        found = re.search(r"at (http\S+/)", server.stdout.readline())
        assert found, "the server did not start"
        dataset = open_dataset("toytown:size=192x288")
        picture = Path(folder) / "street.png"
        picture.write_bytes(image_png(dataset.read(dataset.parts["val"][SCENE]).image))
        shown = screenshot(found[1], picture, chromium)
        server.terminate()
    Image.open(io.BytesIO(shown)).convert("RGB").quantize(128).save(Path(__file__).with_name("page.png"), optimize=True)


def screenshot(address: str, picture: Path, chromium: str) -> bytes:
    """The page after it compared both networks on the picture."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        page.set_input_files("#file", picture)
        page.wait_for_selector("#result:not([hidden])")
        page.select_option("#other", RUNS[1])
        page.wait_for_selector("#apart:not([hidden])")
        page.locator(".stage").nth(1).hover(position={"x": 150, "y": 120})
        shown = page.screenshot()
        browser.close()
    return shown


if __name__ == "__main__":
    main(*sys.argv[1:2])
