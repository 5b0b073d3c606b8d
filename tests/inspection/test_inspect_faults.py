"""Faults that real folders have (files and masks): each is found with its severity, the file and the fix."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from segtrial.inspection import Inspection, inspect
from tests.data.drawn import labels, photo
from tests.data.test_bad_inputs import png

NAMES = tuple("abcde")
MASK = labels([0, 1, 2], (48, 64))


def good(masks: np.ndarray = MASK) -> dict:
    """Five pairs without a fault."""
    images = {f"images/{name}.png": photo(number, (48, 64)) for number, name in enumerate(NAMES)}
    return images | {f"masks/{name}.png": masks for name in NAMES}


def all_masks(content: np.ndarray) -> dict:
    return {f"masks/{name}.png": content for name in NAMES}


def colored(*colors: tuple[int, int, int]) -> np.ndarray:
    """An RGB mask with these colours in stripes."""
    return np.array(colors, np.uint8)[labels(list(range(len(colors))), (48, 64))]


def slipped() -> np.ndarray:
    """A mask of two colours, and two pixels of another one."""
    mask = colored(*TWO)
    mask[0, :2] = 0, 255, 0
    return mask


def with_alpha(alpha: int) -> Image.Image:
    return Image.fromarray(np.dstack([photo(1, (48, 64)), labels([255, alpha], (48, 64))]))


def of(inspection: Inspection, code: str) -> list:
    return [one for one in inspection.findings if one.code == code]


TABLE = {"label_colors.txt": "255 0 0 sky\n0 0 255 road\n"}
TWO = ((255, 0, 0), (0, 0, 255))

CASES = {  # what is put into the folder, the code, the severity, the file, the message, the fix
    # pictures
    "zero bytes": ({"images/b.png": b""}, "image.empty", "error", "images/b.png", "empty file", "Put a picture"),
    "html": ({"images/b.png": "<!DOCTYPE html>"}, "image.format", "error", "images/b.png", "but text", "PNG, JPEG"),
    "pdf": ({"images/b.png": b"%PDF-1.7"}, "image.format", "error", "images/b.png", "known format", "PNG, JPEG"),
    "json mask": ({"masks/b.png": "{}"}, "mask.format", "error", "masks/b.png", "but text", "PNG, JPEG"),
    "bomb": ({"images/b.png": png(60000, 60000)}, "image.bomb", "error", "images/b.png", "too large", "into tiles"),
    "truncated": ({"images/b.png": png(64, 48)}, "image.truncated", "error", "images/b.png", "truncated", "Copy"),
    "truncated mask": ({"masks/b.png": png(64, 48)}, "mask.truncated", "error", "masks/b.png", "truncated", "Copy"),
    "alpha": (
        {"images/b.png": with_alpha(128)}, "image.alpha", "error", "images/b.png", "alpha down to 128", "Flatten",
    ),
    "opaque": ({"images/b.png": with_alpha(255)}, "image.alpha", "note", "images/b.png", "opaque", "dropped"),
    "alpha mask": ({"masks/b.png": with_alpha(9)}, "mask.alpha", "error", "masks/b.png", "down to 9", "Flatten"),
    "16 bits": (
        {"images/b.png": np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21},
        "image.depth", "note", "images/b.png", "16 bits", "scaled to 8",
    ),
    "mixed channels": ({"images/b.png": photo(1, (48, 64), 1)}, "image.channels", "note", "", "1 of 5", "as RGB"),
    "mixed sizes": (
        {"images/b.png": photo(1, (40, 40)), "masks/b.png": labels([0, 1, 2], (40, 40))},
        "image.sizes", "note", "", "2 sizes.*48x64 \\(4\\), 40x40 \\(1\\)", "crops",
    ),
    "tiny": (
        {"images/b.png": photo(1, (3, 3)), "masks/b.png": labels([0, 1, 2], (3, 3))},
        "image.tiny", "warning", "images/b.png", "side below 32", "padded",
    ),
    "constant image": (
        {"images/b.png": colored((9, 9, 9))}, "image.constant", "warning", "images/b.png", "one", "export",
    ),
    "junk": ({"images/.DS_Store": "x", "Thumbs.db": "x"}, "file.junk", "note", "", "2 hidden", "passed over"),
    # names and pairs
    "no mask": ({"images/x.png": photo(1)}, "pair.missing", "error", "images/x.png", "without a mask", "Add or remove"),
    "no image": ({"masks/x.png": MASK}, "pair.missing", "error", "masks/x.png", "without an image", "Add or remove"),
    "same stem": ({"images/b.jpg": photo(1)}, "pair.same_name", "error", "images/b.jpg", "share one name", "Keep one"),
    "capitals": (
        {"images/B.png": photo(9, (48, 64)), "masks/B.png": MASK},
        "file.collision", "warning", "images/B.png", "capitals", "Rename",
    ),
    # masks
    "255 present": (
        all_masks(labels([0, 1, 2, 255], (48, 64))), "layout.read", "note", "", "value 255 .*IGNORE", "data.yaml",
    ),
    "0 and 255": (all_masks(labels([0, 255], (48, 64))), "layout.read", "note", "", "0 and 255: read as", "data.yaml"),
    "value above classes": (
        {"classes.txt": "a\nb\n"}, "class.table", "error", "", "2 names but masks hold 2", "Correct the masks",
    ),
    "holes": (all_masks(labels([0, 7, 19], (48, 64))), "mask.holes", "error", "", "0 .*7 .*19", "--write"),
    "smooth edges": (
        all_masks(np.resize(np.arange(192, dtype=np.uint8), (48, 64))),
        "mask.lossy", "error", "", "192 distinct", "PNG without smoothing",
    ),
    "no table": (all_masks(colored(*TWO)), "mask.colors", "error", "", "no table of class colours", "--write"),
    "beside the table": (
        TABLE | all_masks(colored(*TWO)) | {"masks/b.png": colored(*TWO, (250, 0, 0))},
        "mask.unknown_colors", "error", "masks/b.png", r"\[250, 0, 0\] \(1024 pixels, 5 from sky\)", "tolerance: 6",
    ),
    "names without colours": (
        all_masks(colored(*TWO)) | {"classes.txt": "a\nb\n"}, "mask.colors", "error", "", "gives no colours", "--write",
    ),
    "other size": (
        {"masks/b.png": labels([0, 1], (24, 32))}, "mask.size", "error", "masks/b.png", "1 mask has another size",
        "never resized",
    ),
    "exchanged": ({"masks/b.png": MASK.T.copy()}, "mask.transposed", "error", "masks/b.png", "exchanged", "Transpose"),
    "all ignored": (
        {"masks/b.png": labels([255], (48, 64))}, "mask.ignored", "warning", "masks/b.png", "1 of 5", "Remove them",
    ),
    "background only": (
        all_masks(labels([0, 255], (48, 64))) | {"masks/b.png": labels([0], (48, 64))},
        "mask.background", "note", "masks/b.png", "1 of 5", "Right if",
    ),
    "one class only": (all_masks(labels([0], (48, 64))), "mask.one_class", "error", "", "one class only", "Check"),
    "constant mask": (
        {"masks/b.png": labels([2], (48, 64))}, "mask.constant", "warning", "masks/b.png", "1 of 5", "export",
    ),
    "16 bits of objects": (
        all_masks(labels([0, 1, 2], (48, 64)).astype(np.uint16) * 1000),
        "mask.depth", "error", "masks/a.png", "up to 2000", "numbers of objects",
    ),
    "declared and absent": (
        {"classes.txt": "a\nb\nc\nd\n"}, "class.absent", "warning", "", "1 of 4 declared .* in no mask: d", "merge",
    ),
    "repeated name": ({"classes.txt": "a\na\nb\n"}, "class.table", "error", "", "repeated names", "name of its own"),
    "a slip": (
        all_masks(colored(*TWO)) | {"masks/b.png": slipped()},
        "class.stray", "warning", "masks/b.png", "1 class has a few pixels of one mask", "ignore: [lime]",
    ),
    "no names": ({}, "class.unnamed", "warning", "", "3 classes have no name", "classes.txt"),
    "left and right": ({"classes.txt": "skin\nl_eye\nr_eye\n"}, "class.sides", "note", "", "l_eye/r_eye", "exchanges"),
    "imbalance": (
        all_masks(np.where(np.arange(3072).reshape(48, 64) < 10, 1, 0).astype(np.uint8)),
        "class.imbalance", "warning", "", "foreground 0.33 %", "class_weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_named_with_its_files_and_fix(make, cache, case):
    files, code, severity, file, message, fix = CASES[case]
    found = inspect(make(good() | files), cache=cache)
    fitting = [one for one in of(found, code) if one.severity == severity]
    assert fitting, [(one.code, one.severity) for one in found.findings]
    assert any(re.search(message, one.message) and fix in one.fix for one in fitting), fitting
    assert not file or any(file in one.files for one in fitting), fitting
    assert found.failed == any(one.severity == "error" for one in found.findings)


def test_a_good_folder_has_no_error_and_no_warning_but_its_size(make, cache):
    found = inspect(make(good() | {"classes.txt": "sky\nroad\ntree\n"}), cache=cache)
    assert {one.code for one in found.findings if one.severity != "note"} == {"part.few"}
    assert not found.failed


def test_every_fault_is_found_not_only_the_first(make, cache):
    """Two damaged images, a damaged mask, a lonely image, a wrong size: one call names them all."""
    root = make(
        good()
        | {"images/a.png": b"", "images/b.png": "<html>", "masks/c.png": b"", "images/x.png": photo(1)}
        | {"masks/d.png": labels([0, 1, 2], (24, 32))}
    )
    found = inspect(root, cache=cache)
    errors = {one.code: one.files for one in found.findings if one.severity == "error"}
    assert errors == {
        "image.empty": ("images/a.png",),
        "image.format": ("images/b.png",),
        "mask.empty": ("masks/c.png",),
        "pair.missing": ("images/x.png",),
        "mask.size": ("masks/d.png",),
    }
    assert len(found.shares) == 3  # and what is left is understood


def test_pipes_links_and_loops_are_named_and_do_not_block(make, cache):
    root = make(good())
    (root / "images/b.png").unlink()
    os.mkfifo(root / "images/b.png")
    (root / "images/c.png").unlink()
    (root / "images/c.png").symlink_to("nowhere.png")
    (root / "loop").symlink_to("loop")
    found = inspect(root, cache=cache)
    assert [one.files for one in of(found, "file.kind")] == [("images/b.png",)]
    assert sorted(name for one in of(found, "file.link") for name in one.files) == ["images/c.png", "loop"]
    assert found.dataset is not None


def test_a_folder_that_holds_itself_ends(make, cache):
    root = make(good())
    (root / "images/again").symlink_to(root)
    assert sum(inspect(root, cache=cache).parts.values()) == len(NAMES)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_image_turned_by_exif_needs_a_mask_that_is_turned(make, cache, orientation):
    root = make(good())
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(1, (48, 64))).save(root / "images/b.png", exif=exif)
    found = inspect(root, cache=cache)
    [wrong] = of(found, "mask.exif")
    assert (wrong.severity, wrong.files) == ("error", ("masks/b.png",))
    assert "mask 48x64, image 64x48" in wrong.message
    assert "Turn the mask" in wrong.fix
    Image.fromarray(MASK.T.copy()).save(root / "masks/b.png")
    found = inspect(root, cache=cache)
    assert not of(found, "mask.exif")
    assert [one.files for one in of(found, "image.turned")] == [("images/b.png",)]


def test_several_frames_are_counted(make, cache):
    root = make(good())
    frames = [Image.fromarray(photo(n, (48, 64))) for n in range(3)]
    frames[0].save(root / "images/b.png", save_all=True, append_images=frames[1:])
    [wrong] = of(inspect(root, cache=cache), "image.frames")
    assert (wrong.severity, wrong.files) == ("error", ("images/b.png",))
    assert "3 frames" in wrong.message


def test_another_format_than_the_name_says_is_a_note(make, cache):
    root = make(good())
    Image.fromarray(photo(1, (48, 64))).save(root / "x.jpg")
    (root / "x.jpg").rename(root / "images/b.png")
    found = inspect(root, cache=cache)
    [lie] = of(found, "file.extension")
    assert (lie.severity, lie.files) == ("note", ("images/b.png",))
    assert "JPEG in .png" in lie.message
    assert not found.failed


def test_a_jpeg_mask_is_an_error_and_the_others_still_say_their_classes(make, cache):
    root = make(good(labels([0, 255], (48, 64))))
    (root / "masks/b.png").unlink()
    Image.fromarray(labels([0, 255, 255], (48, 64))).save(root / "masks/b.jpg", quality=60)
    found = inspect(root, cache=cache)
    assert [(one.severity, one.files) for one in of(found, "mask.lossy")] == [("error", ("masks/b.jpg",))]


def test_strange_names_survive(make, cache):
    names = ("ä", "a b", "-x", 'q"><script>', "x\ny", "\N{SNOWMAN}")
    pairs = {f"images/{name}.png": photo(n, (48, 64)) for n, name in enumerate(names)}
    found = inspect(make(pairs | {f"masks/{name}.png": MASK for name in names}), cache=cache)
    assert not found.failed
    assert sum(found.parts.values()) == len(names)


def test_many_files_are_counted_and_twenty_are_listed(make, cache):
    files = {f"images/{n:02}.png": b"" for n in range(30)} | {f"masks/{n:02}.png": MASK for n in range(30)}
    [empty] = of(inspect(make(files), cache=cache), "image.empty")
    assert (len(empty.files), empty.count) == (20, 30)


def test_palette_masks_give_their_indices(make, cache):
    picture = Image.fromarray(MASK)
    picture.putpalette([9, 8, 7, 200, 0, 0, 0, 200, 0] + [0] * 759)
    root = make(good())
    for name in NAMES:
        picture.save(root / f"masks/{name}.png")
    found = inspect(root, cache=cache)
    assert [share.color for share in found.shares] == [(9, 8, 7), (200, 0, 0), (0, 200, 0)]
    assert [share.pixels for share in found.shares] == pytest.approx([1 / 3] * 3)


def test_a_class_that_a_part_lacks_is_named(make, cache):
    files = {f"train/images/{n}.png": photo(n, (48, 64)) for n in range(4)}
    files |= {f"train/masks/{n}.png": MASK for n in range(4)}
    files |= {f"val/images/{n}.png": photo(n + 9, (48, 64)) for n in range(2)}
    files |= {f"val/masks/{n}.png": labels([0, 1], (48, 64)) for n in range(2)}
    found = inspect(make(files | {"classes.txt": "sky\nroad\ntree\n"}), cache=cache)
    [missing] = of(found, "class.missing")
    assert missing.severity == "warning"
    assert "val has no pixel of tree" in missing.message


def test_nothing_in_a_folder_is_an_error(make, cache, tmp_path):
    (tmp_path / "nothing").mkdir()
    found = inspect(tmp_path / "nothing", cache=cache)
    assert found.failed
    [unknown] = of(found, "layout.unknown")
    assert "Understood are" in unknown.fix


def test_two_annotators_are_named_and_one_is_read(make, cache):
    files = {f"{name}.jpg": photo(n, (48, 64)) for n, name in enumerate(NAMES)}
    files |= {f"{name}_{who}.png": MASK for name in NAMES for who in ("first", "second")}
    found = inspect(make(files), cache=cache)
    [several] = of(found, "pair.annotators")
    assert several.severity == "error"
    assert several.files == tuple(f"{name}_second.png" for name in NAMES)
    assert len(found.shares) == 3


def test_a_file_that_may_not_be_read_is_named(make, cache, monkeypatch):
    root = make(good())
    real = os.open

    def refuse(path, *rest, **more):
        if str(path).endswith("images/b.png"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)  # chmod does not stop the superuser that runs containers
    [wrong] = of(inspect(root, cache=cache), "file.unreadable")
    assert (wrong.severity, wrong.files) == ("error", ("images/b.png",))
