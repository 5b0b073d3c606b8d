"""Files in, answers out, against a network whose answer is known: each pixel's largest colour channel."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial.drawing import colored, picture_of
from segtrial.errors import DataError, DataNotFound, RunError
from segtrial.models._whole import Whole
from segtrial.prediction import Tiling, answer, predict_files
from tests.prediction.known import CLASSES, Largest, Loaded, labels_in, noise, put, tree, whole


@pytest.fixture
def model() -> Loaded:
    return Loaded()


@pytest.mark.parametrize("size", [(1, 1), (2, 31), (40, 3), (97, 65)], ids=str)
def test_labels_overlay_and_confidence_have_the_images_size(size, model, tmp_path):
    image = put(tmp_path / "a.png", *size)
    report = predict_files(model, [tmp_path / "a.png"], tmp_path / "out")
    assert report.done == (tmp_path / "a.png",)
    assert sorted(tree(tmp_path / "out")) == ["a.png", "a_confidence.png", "a_overlay.png"]
    labels = labels_in(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(labels, image.argmax(0))
    opened = Image.open(tmp_path / "out" / "a.png")
    assert opened.mode == "P"
    np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), colored(labels, CLASSES))
    for name in ("a_confidence.png", "a_overlay.png"):
        assert labels_in(tmp_path / "out" / name).shape == (*size, 3)
    full = (labels_in(tmp_path / "out" / "a_overlay.png") == colored(labels, CLASSES)).all(2)
    assert full[:, :-1][labels[:, 1:] != labels[:, :-1]].all()  # borders are in full colour


def test_only_labels_if_only_labels_are_wanted(model, tmp_path):
    put(tmp_path / "a.png")
    predict_files(model, [tmp_path / "a.png"], tmp_path / "out", overlay=False, confidence=False)
    assert sorted(tree(tmp_path / "out")) == ["a.png"]


def test_folders_keep_their_shape_and_junk_is_passed_over(model, tmp_path):
    for name in ("a.png", "sub/a.png", "sub/deep/Ü b.webp", "sub/.hidden.png", ".git/x.png"):
        put(tmp_path / "in" / name)
    for name in ("Thumbs.db", "notes.txt", "sub/._a.png"):
        (tmp_path / "in" / name).write_text("junk")
    report = predict_files(model, [str(tmp_path / "in")], tmp_path / "out", overlay=False, confidence=False)
    assert sorted(tree(tmp_path / "out")) == ["a.png", "sub/a.png", "sub/deep/Ü b.png"]
    assert report.skipped == ()


def test_globs_keep_what_follows_their_fixed_part(model, tmp_path):
    for name in ("one/x/a.png", "two/x/a.png", "two/y/b.png", "two/z.txt"):
        put(tmp_path / "in" / name) if name.endswith("png") else (tmp_path / "in" / name).write_text("")
    wanted = {"overlay": False, "confidence": False}
    predict_files(model, [f"{tmp_path}/in/*/x/*.png"], tmp_path / "files", **wanted)
    assert sorted(tree(tmp_path / "files")) == ["one/x/a.png", "two/x/a.png"]
    predict_files(model, [f"{tmp_path}/in/t*"], tmp_path / "folders", **wanted)
    assert sorted(tree(tmp_path / "folders")) == ["two/x/a.png", "two/y/b.png"]
    predict_files(model, [f"{tmp_path}/in/**/*"], tmp_path / "all", **wanted)
    assert sorted(tree(tmp_path / "all")) == ["one/x/a.png", "two/x/a.png", "two/y/b.png"]


def test_a_name_with_brackets_that_is_there_is_no_glob(model, tmp_path):
    put(tmp_path / "a[1].png")
    assert predict_files(model, [str(tmp_path / "a[1].png")], tmp_path / "out").done


def test_a_picture_named_twice_is_answered_once(model, tmp_path):
    put(tmp_path / "in" / "a.png")
    report = predict_files(model, [tmp_path / "in", tmp_path / "in" / "a.png"], tmp_path / "out")
    assert len(report.done) == len(model.network.core.seen) == 1


def test_a_photo_taken_sideways_is_answered_upright(model, tmp_path):
    image = noise(4, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "a.png", exif=exif)
    predict_files(model, [tmp_path / "a.png"], tmp_path / "out")
    np.testing.assert_array_equal(labels_in(tmp_path / "out" / "a.png"), np.rot90(image.argmax(0), -1))


def test_grey_pictures_are_answered_by_a_colour_network(model, tmp_path):
    Image.fromarray(noise(4, 5)[0]).save(tmp_path / "grey.png")
    predict_files(model, [tmp_path / "grey.png"], tmp_path / "out")
    shown = labels_in(tmp_path / "out" / "grey_overlay.png")
    np.testing.assert_array_equal(labels_in(tmp_path / "out" / "grey.png"), 0)  # all channels equal: the first wins
    assert abs(shown[:, :, 1].astype(int) - picture_of(noise(4, 5)[:1])[:, :, 1] / 2).max() <= 0.5  # half, tinted red


def test_progress_counts_every_picture(model, tmp_path):
    for name in "abc":
        put(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    told = []
    predict_files(model, [tmp_path / "in"], tmp_path / "out", progress=lambda *pair: told.append(pair))
    assert told[-1] == (3, 3)
    assert told == sorted(told)


# ---- what cannot be answered


def test_three_bad_of_ten_leave_seven_done_and_three_listed(model, tmp_path):
    images = {name: put(tmp_path / "in" / f"{name}.png", seed=ord(name)) for name in "abcdefghij"}
    data = (tmp_path / "in" / "b.png").read_bytes()
    (tmp_path / "in" / "b.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "in" / "e.png").write_bytes(b"")
    (tmp_path / "in" / "h.png").write_text("<html>not found</html>")
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out")
    assert [path.stem for path in report.done] == list("acdfgij")
    assert [(path.stem, reason.split(" ")[0]) for path, reason in report.skipped] == [
        ("b", "truncated"),
        ("e", "empty"),
        ("h", "not"),
    ]
    assert all(re.search(r"\. (Copy|Put) \w+", reason) for _, reason in report.skipped)  # with the fix
    assert len(tree(tmp_path / "out")) == 7 * 3
    for path in report.done:
        np.testing.assert_array_equal(labels_in(tmp_path / "out" / path.name), images[path.stem].argmax(0))


def test_a_pipe_among_the_inputs_does_not_block(model, tmp_path):
    put(tmp_path / "in" / "a.png")
    os.mkfifo(tmp_path / "in" / "b.png")
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out")
    assert [(path.name, "pipe" in reason) for path, reason in report.skipped] == [("b.png", True)]


def test_a_network_without_memory_for_a_picture_goes_on_with_the_next(model, tmp_path):
    class Greedy(Largest):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            if x.shape[-1] > 16:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    put(tmp_path / "in" / "a.png", 5, 40)
    put(tmp_path / "in" / "b.png", 5, 4)
    network = Whole(Greedy(), torch.zeros(3), torch.ones(3)).eval()
    report = predict_files(replace(model, network=network), [tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in report.done] == ["b.png"]
    assert report.skipped[0][1] == (
        "5x40 pixels do not fit the device's memory. Cut it into smaller tiles (--tile 256), or predict on the CPU"
    )


BEFORE_WORK = {
    "one stem, two extensions": (["in/a.png", "in/a.webp"], "out", r"out/a.*\.png: both .*in/a\.\w+ and .*in/a\.\w+"),
    "a name like an output": (["names"], "out", r"out/b_overlay\.png: both .*names/b\.png and .*names/b_overlay\.png"),
    "into the input folder": (["in"], "in", r"in: both an input folder and the output folder\. Choose another --out"),
    "over an input": (["in/a.png"], "in", r"in/a\.png: an input that would be overwritten\. Choose another --out"),
    "over another input": (["in/c.webp", "in/c_overlay.png"], "in", r"c_overlay\.png: an input that would be overwr"),
    "over a linked input": (["linked/link.png"], "linked", r"link\.png: an input that would be overwritten"),
}


@pytest.mark.parametrize(("inputs", "out", "message"), BEFORE_WORK.values(), ids=BEFORE_WORK.keys())
def test_outputs_that_would_collide_stop_before_any_work(inputs, out, message, model, tmp_path):
    for name in ("in/a.png", "in/a.webp", "in/c.webp", "in/c_overlay.png", "other/a.png"):
        put(tmp_path / name)
    for name in ("names/b.png", "names/b_overlay.png", "twin/b.webp"):
        put(tmp_path / name)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "link.png").symlink_to(tmp_path / "other" / "a.png")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=message):
        predict_files(model, [tmp_path / name for name in inputs], tmp_path / out)
    assert tree(tmp_path) == before
    assert model.network.core.seen == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.png", r"absent\.png: there is no such file or folder"),
        ("picture.png", r"there is no such file or folder\. Did you mean 'pictures\.png'\?"),
        ("empty", r"empty: no picture in it\. Give pictures \(\.bmp, "),
        ("*.tif", r"\*\.tif: no picture in it"),
    ],
)
def test_inputs_that_name_nothing_stop_before_any_work(name, message, model, tmp_path):
    put(tmp_path / "pictures.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFound, match=message):
        predict_files(model, [tmp_path / "pictures.png", f"{tmp_path}/{name}"], tmp_path / "out")
    assert model.network.core.seen == []


def test_no_input_at_all_is_refused(model, tmp_path):
    with pytest.raises(DataNotFound, match=r"images: none were named\. Give pictures, folders or globs"):
        predict_files(model, [], tmp_path / "out")


def test_an_output_that_is_a_file_is_refused(model, tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match=r"out: cannot be used as a folder .*Choose another --out"):
        predict_files(model, [tmp_path / "a.png"], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


# ---- again


def test_a_second_run_leaves_the_same_bytes_and_does_not_answer_its_own_answers(model, tmp_path):
    put(tmp_path / "in" / "a.png")
    predict_files(model, [tmp_path / "in"], tmp_path / "in" / "out")
    first = tree(tmp_path)
    report = predict_files(model, [tmp_path / "in"], tmp_path / "in" / "out")
    assert tree(tmp_path) == first
    assert len(report.kept) == 1


def test_resume_does_what_is_not_done(model, tmp_path):
    for name in "abcd":
        put(tmp_path / "in" / f"{name}.png", seed=ord(name))
    first = predict_files(model, [tmp_path / "in"], tmp_path / "out")
    expected = tree(tmp_path / "out")
    (tmp_path / "out" / "a.png").unlink()
    (tmp_path / "out" / "b_overlay.png").write_bytes(b"half")
    (tmp_path / "out" / "c_confidence.png").unlink()
    again = predict_files(model, [tmp_path / "in"], tmp_path / "out", resume=True)
    assert ([path.stem for path in again.done], [path.stem for path in again.kept]) == (["a", "b", "c"], ["d"])
    assert tree(tmp_path / "out") == expected
    assert len(first.done) == 4


def test_resume_answers_anew_for_another_image_precision_or_way_of_asking(model, tmp_path):
    put(tmp_path / "a.png", seed=1)

    def kept(precision: str = "float32", **how: object) -> int:
        return len(predict_files(model, [tmp_path / "a.png"], tmp_path / "out", precision=precision, **how).kept)

    assert [kept(), kept()] == [0, 1]
    assert [kept("bfloat16"), kept()] == [0, 0]
    assert [kept(tta="flip"), kept(tta="flip"), kept()] == [0, 1, 0]
    assert [kept(tiling=Tiling((5, 5), 2)), kept(tiling=Tiling((5, 5), 2)), kept(tiling=Tiling((5, 5), 1))] == [0, 1, 0]
    assert [kept(), kept(tiling=Tiling((50, 50), 2))] == [0, 1]  # not large enough to be cut
    put(tmp_path / "a.png", seed=2)
    assert [kept(), kept(resume=False)] == [0, 0]


def test_another_model_is_refused_with_the_fix(model, tmp_path):
    put(tmp_path / "a.png")
    predict_files(model, [tmp_path / "a.png"], tmp_path / "out")
    before = tree(tmp_path / "out")
    for resume in (True, False):
        with pytest.raises(RunError, match=r"out: another model has answered into it \(sha256 first\)\. Choose anoth"):
            predict_files(replace(model, digest="second"), [tmp_path / "a.png"], tmp_path / "out", resume=resume)
    assert tree(tmp_path / "out") == before


def test_more_kinds_of_output_are_added_to_what_is_there(model, tmp_path):
    put(tmp_path / "a.png")
    wanted = [["labels"], ["labels"], ["labels", "overlay"], ["labels"], ["overlay"]]
    kept = [len(predict_files(model, [tmp_path / "a.png"], tmp_path / "out", save=words).kept) for words in wanted]
    assert kept == [0, 1, 0, 1, 1]


@pytest.mark.parametrize("line", ["{", "[1]", "3"])
def test_a_damaged_journal_is_named(line, model, tmp_path):
    put(tmp_path / "a.png")
    predict_files(model, [tmp_path / "a.png"], tmp_path / "out")
    with (tmp_path / "out" / ".answers.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(RunError, match=r"\.answers\.jsonl: damaged .*Delete it: the pictures are then answered again"):
        predict_files(model, [tmp_path / "a.png"], tmp_path / "out")


def test_pictures_of_one_size_are_asked_together_and_answered_as_if_alone(tmp_path):
    images = {f"{n:02d}": put(tmp_path / "in" / f"{n:02d}.png", 9, 9 + (n == 3), seed=n) for n in range(13)}
    torch.manual_seed(0)

    class Convolution(nn.Module):
        multiple = 1

        def __init__(self):
            super().__init__()
            self.conv, self.seen = nn.Conv2d(3, 3, 3, padding=1), []

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            self.seen.append(tuple(x.shape))
            return (self.conv(x),)

    model = Loaded(whole(Convolution()))
    predict_files(model, [tmp_path / "in"], tmp_path / "out", precision="float32")
    assert [shape[0] for shape in model.network.core.seen] == [3, 1, 8, 1]
    for name, image in images.items():
        alone = answer(model.network, model.task, image)
        np.testing.assert_array_equal(labels_in(tmp_path / "out" / f"{name}.png"), alone.values)


def test_what_goes_together_is_the_same_when_some_are_done(model, tmp_path):
    for name in "abcd":
        put(tmp_path / "in" / f"{name}.png", seed=ord(name))
    predict_files(model, [tmp_path / "in"], tmp_path / "out")
    (tmp_path / "out" / "c.png").unlink()
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out")
    assert [path.stem for path in report.done] == ["c"]
    assert model.network.core.seen == 2 * [(4, 3, 16, 16)]


SCRIPT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.prediction.known import Loaded
from segtrial.prediction import predict_files
model = Loaded()
predict_files(model, [sys.argv[2]], Path(sys.argv[3]), resume=True)
"""


def test_a_killed_run_leaves_whole_files_and_is_continued(model, tmp_path):
    for name in "abc":
        put(tmp_path / "in" / f"{name}.png", seed=ord(name))
    predict_files(model, [tmp_path / "in"], tmp_path / "whole")
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(Path(__file__).parents[2]),
        str(tmp_path / "in"),
        str(tmp_path / "out"),
    ]
    killed = subprocess.run(command, env=os.environ | {"SEGTRIAL_FAILPOINT": "write.before_sync:6"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = tree(tmp_path / "out")
    finished = {name: data for name, data in left.items() if not name.endswith(".partial")}
    assert len(left) == 6
    assert len(finished) == 4  # all of a, and one of b, whose others were under way
    assert finished.items() <= tree(tmp_path / "whole").items()
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out", resume=True)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert [path.stem for path in report.kept] == ["a"]
