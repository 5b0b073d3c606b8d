"""The page in Chromium by keys, by ear, on a phone, in both schemes: whoever comes can use it."""

import re

import numpy as np
import pytest

from segtrial.classes import Classes
from tests.reports.reading import CHROMIUM
from tests.serving.standin import Model
from tests.serving.street import CLASSES, NAMES, H, W, one, scene, shifted, two, upload

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)"),
]

FOCUSED = """(() => {
  const it = document.activeElement;
  return it.id || it.dataset.name || it.className || it.name || it.tagName;
})()"""
NAMELESS = "all => all.filter(it => !(it.textContent.trim() || it.labels?.[0]?.textContent.trim())).length"
TEXTS = "h1, p, label, button, th, td, .button, select, output, figcaption"
COLOURS = """all => all.filter((it) => it.checkVisibility() && it.textContent.trim() && !it.disabled).map((it) => {
  let ground = it;
  while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
  return [getComputedStyle(it).color, getComputedStyle(ground).backgroundColor, it.textContent];
})"""
ACROSS = "document.documentElement.scrollWidth"


def test_keys_move_a_crosshair_that_tells_class_and_confidence(visit, street):
    page, _ = visit(two())
    upload(page, street)
    page.select_option("#other", "unet")
    page.wait_for_selector("#apart:not([hidden])")
    page.locator("#mark").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "application"
    x, y = W // 2, H // 2
    for key, (right, down) in {"ArrowLeft": (-1, 0), "ArrowUp": (0, -1), "Shift+ArrowLeft": (-1, 0)}.items():
        page.keyboard.press(key)
        x, y = x + right, y + down
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
        x -= 1
    says = [NAMES[labels[y, x]] for labels in (scene(), shifted(None))]
    apart = " They differ here." if says[0] != says[1] else ""
    wanted = f"x {x}, y {y}: compact says {says[0]}, 80.0 % sure; unet says {says[1]}, 60.0 % sure.{apart}"
    assert apart
    assert page.locator("#under").inner_text() == wanted
    page.wait_for_function("words => document.getElementById('spoken').textContent === words", arg=wanted)
    page.keyboard.press("Escape")
    assert page.locator(".cross:visible").count() == 0


def test_the_pointer_tells_class_and_confidence(visit, street):
    page, _ = visit([one()])
    upload(page, street)
    stage = page.locator(".stage").nth(1)
    box = stage.bounding_box()
    for x, y in ((0, 0), (10, 20), (W - 1, H - 1)):
        stage.hover(position={"x": (x + 0.5) * box["width"] / W, "y": (y + 0.5) * box["height"] / H})
        assert page.locator("#under").inner_text() == f"x {x}, y {y}: {NAMES[scene()[y, x]]}, 80.0 % sure."
    assert page.locator(".cross:visible").count() == 2, "the same place in the picture"


def test_the_page_is_operable_by_keys_and_every_control_has_a_name(visit, street):
    page, _ = visit(two())
    upload(page, street)
    seen = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if seen[-1] == "BODY":
            break
    by_share = [NAMES[index] for index in np.argsort(-np.bincount(scene().ravel()))]
    wanted = ["skip", "file", "model", "other", "view", "opacity", "stage", "all", "none", *by_share]
    assert [each for each in seen if each in wanted] == wanted
    nameless = page.eval_on_selector_all("button, input, select", NAMELESS)
    assert nameless == 0
    tree = page.locator("body").aria_snapshot()
    for said in ('heading "Ask a model about a picture"', 'combobox "Compare with"', 'slider "Opacity', "status:"):
        assert said in tree, tree


def test_what_was_found_is_said_to_who_cannot_see_it(visit, street):
    page, _ = visit([one()])
    upload(page, street)
    shares = np.bincount(scene().ravel()) / scene().size
    said = page.evaluate("document.querySelector('[role=status]').textContent")
    assert said == "compact: " + ", ".join(f"{NAMES[i]} {100 * shares[i]:.1f} %" for i in np.argsort(-shares)) + "."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_need_not_scroll_sideways_in_either_scheme(visit, street, tmp_path, scheme):
    long = Classes(("a-rather-long-name-without-any-blank-in-it", *NAMES[1:]), CLASSES.colors)
    models = [Model("deeplabv3plus-resnet101-of-last-week", long, scene), *two()]
    page, _ = visit(models, width=360, color_scheme=scheme)
    assert page.evaluate(ACROSS) <= 360
    upload(page, street)
    page.select_option("#other", "unet")
    page.wait_for_selector("#apart:not([hidden])")
    assert page.evaluate(ACROSS) <= 360
    (tmp_path / f"{'no-blank' * 12}.png").write_text("text")
    page.set_input_files("#file", tmp_path / f"{'no-blank' * 12}.png")
    page.wait_for_selector(".trouble")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (np.mean([int(part) for part in re.findall(r"\d+", ground)[:3]]) > 128) == (scheme == "light")


@pytest.mark.parametrize(("wish", "moving"), [("reduce", "none"), ("no-preference", "turn")])
def test_nothing_turns_for_who_asks_for_rest(visit, street, wish, moving):
    page, _ = visit([one(seconds=0.5)], reduced_motion=wish)
    page.set_input_files("#file", street)
    page.wait_for_selector("#status.busy")
    assert page.evaluate("getComputedStyle(document.getElementById('status'), '::before').animationName") == moving


def test_what_is_seen_has_enough_contrast(visit, street):
    """WCAG 2.2, 1.4.3: 4.5 : 1 for text, in both schemes."""
    for scheme in ("light", "dark"):
        page, _ = visit(two(), color_scheme=scheme)
        upload(page, street)
        pairs = page.eval_on_selector_all(TEXTS, COLOURS)
        weak = [(text, contrast(*colors)) for *colors, text in pairs if contrast(*colors) < 4.5]
        assert not weak


def contrast(one: str, other: str) -> float:
    low, high = sorted(luminance([int(part) for part in re.findall(r"\d+", color)[:3]]) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(color: list[int]) -> float:
    """WCAG's relative luminance of sRGB."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
