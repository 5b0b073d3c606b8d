"""What a client gets: the label maps of `segtrial predict`, drawn and counted, through pictures, forms and tensors."""

import asyncio
import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segtrial.drawing import overlay
from segtrial.errors import Refused
from segtrial.prediction import Tiling, predict_files, tiling
from segtrial.serving import answers
from segtrial.serving.batching import MOST_IMAGES, Waiting, together
from segtrial.serving.network import Answering
from segtrial.tasks import Answer, make
from tests.prediction.known import CLASSES, Largest, noise, whole
from tests.prediction.known import Loaded as Known
from tests.serving.here import PNG, answering, error_of, loaded, pixels, png, run

IMAGE = noise(12, 17)
LABELS = IMAGE.argmax(0)


def test_a_picture_comes_back_as_the_label_map_that_predict_writes(tmp_path):
    (tmp_path / "a.png").write_bytes(png(IMAGE))
    predict_files(Known(), [tmp_path / "a.png"], tmp_path / "out")

    async def story(client, service):
        response = await client.post("/predict", content=png(IMAGE), headers=PNG)
        assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
        assert (pixels(response.content) == LABELS).all()
        with Image.open(io.BytesIO(response.content)) as sent, Image.open(tmp_path / "out" / "a.png") as written:
            assert (np.asarray(sent) == np.asarray(written)).all()
            assert sent.mode == written.mode == "P"
            assert sent.getpalette() == written.getpalette()

    run(story)


def test_json_has_this_shape():
    async def story(client, service):
        told = (await client.post("/predict?answer=json", content=png(IMAGE), headers=PNG)).json()
        assert set(told) == {
            *("schema", "model", "width", "height", "classes", "mean_confidence", "seconds", "labels", "confidence")
        }
        assert (told["schema"], told["model"], told["width"], told["height"]) == (1, "known", 17, 12)
        counts = np.bincount(LABELS.ravel(), minlength=3)
        assert told["classes"] == [
            {"id": index, "name": name, "color": list(color), "pixels": int(count), "share": int(count) / LABELS.size}
            for index, (name, color, count) in enumerate(zip(CLASSES.names, CLASSES.colors, counts, strict=True))
        ]
        assert (pixels(base64.b64decode(told["labels"])) == LABELS).all()
        scores = torch.from_numpy(IMAGE / 255 / 0.1)
        sure = scores.softmax(0).amax(0).numpy()
        assert told["mean_confidence"] == pytest.approx(sure.mean(), abs=1e-5)
        assert np.abs(pixels(base64.b64decode(told["confidence"])) - sure * 255).max() <= 0.51
        assert told["seconds"] >= 0

    run(story)


def test_confidence_has_the_temperature_of_the_model_file():
    plain = loaded()
    warm = replace(plain, header=plain.header.model_copy(update={"temperature": 4.0}))
    sure = torch.from_numpy(IMAGE / 255 / 0.1 / 4.0).softmax(0).amax(0)

    async def story(client, service):
        told = (await client.post("/predict?answer=json", content=png(IMAGE), headers=PNG)).json()
        assert told["mean_confidence"] == pytest.approx(sure.mean().item(), abs=1e-5)
        assert (pixels(base64.b64decode(told["labels"])) == LABELS).all()

    run(story, staff=answering(warm))


def test_models_have_this_shape():
    async def story(client, service):
        (told, other) = (await client.get("/models")).json()["models"]
        assert told == {
            "name": "known",
            "task": "segmentation",
            "classes": [
                {"id": index, "name": name, "color": list(color)}
                for index, (name, color) in enumerate(zip(CLASSES.names, CLASSES.colors, strict=True))
            ],
            "parameters": 0,
            "limits": {"bytes": 32 * 2**20, "pixels": 64_000_000},
        }
        assert other["name"] == "known1"

    run(story, staff=[answering(), answering()])


def test_each_model_answers_by_its_name():
    mirrored = whole(Largest())
    mirrored.std *= -1  # answers the smallest channel

    async def story(client, service):
        for query, expected in (("", LABELS), ("?model=known", LABELS), ("?model=known1", IMAGE.argmin(0))):
            response = await client.post(f"/predict{query}", content=png(IMAGE), headers=PNG)
            assert (pixels(response.content) == expected).all()

    run(story, staff=[answering(), answering(loaded(mirrored))])


@pytest.mark.parametrize("opacity", [0, 0.3, 1])
def test_overlays_are_drawn_alike_whole_and_in_pieces(opacity, monkeypatch):
    monkeypatch.setattr(answers, "PIECE", 17 * 5)
    wanted = overlay(IMAGE, LABELS.astype(np.uint8), CLASSES, opacity=opacity)

    async def story(client, service):
        response = await client.post(f"/predict?answer=overlay&opacity={opacity}", content=png(IMAGE), headers=PNG)
        assert (pixels(response.content) == wanted).all()

    run(story)


def test_a_form_with_one_picture_is_the_picture():
    async def story(client, service):
        file = ("<img onerror=alert(1)>.png", png(IMAGE), "image/png")
        response = await client.post("/predict", files={"image": file})
        assert (pixels(response.content) == LABELS).all()

    run(story)


def test_many_at_once_are_answered_each_with_its_own():
    """Images of two sizes, all different; batches hold equal sizes only."""
    images = [noise(10, 14 + 3 * (number % 2), seed=number) for number in range(20)]
    staff = answering()

    async def story(client, service):
        asked = [client.post("/predict", content=png(image), headers=PNG) for image in images]
        for image, response in zip(images, await asyncio.gather(*asked), strict=True):
            assert (pixels(response.content) == image.argmax(0)).all()

    run(story, staff=staff)
    assert sum(frame["buffers"] for frame in staff.asked) == 20
    assert max(frame["buffers"] for frame in staff.asked) > 1, "they went one by one"


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.sampled_from([(4, 5), (5, 4), (8, 8)]), min_size=1, max_size=30), most=st.integers(1, 400))
def test_a_batch_is_the_oldest_and_those_of_its_size(sizes, most):
    async def story():
        from collections import deque

        line = deque(Waiting(np.zeros((3, *size), np.uint8)) for size in sizes)
        while line:
            before = list(line)
            group = together(line, most)
            assert group[0] is before[0], "the oldest waits"
            alike = [one for one in before if one.image.shape == group[0].image.shape]
            assert group == alike[: len(group)], "not in their order"
            assert [one for one in before if one not in group] == list(line)
            height, width = group[0].image.shape[1:]
            assert len(group) == min(len(alike), MOST_IMAGES, max(1, most // (height * width)))

    asyncio.run(story())


def test_large_images_are_cut_as_predict_cuts_them():
    model, image = loaded(), noise(40, 50)
    shape = {"shape": list(image.shape)}
    cutting = Answering(model, "16")
    assert isinstance(tiling("16", None, (64, 64)), Tiling)
    for found in (cutting, Answering(model, "none")):
        _, (labels, _) = found.handle(shape, [image.tobytes()])
        assert (np.frombuffer(labels, np.uint8).reshape(40, 50) == image.argmax(0)).all()
    assert max(width for *_, width in model.network.core.seen) == 56, "whole: 50, padded to a multiple of 8"
    assert min(width for *_, width in model.network.core.seen) == 16


def test_what_does_not_fit_the_device_is_tried_alone_and_then_refused(monkeypatch):
    class Small(Largest):
        def forward(self, x):
            if x.shape[0] > 1 or x.shape[3] > 16:
                raise torch.OutOfMemoryError
            return super().forward(x)

    images = [noise(8, 16), noise(8, 16, seed=1), noise(8, 24)]

    async def story(client, service):
        asked = [client.post("/predict", content=png(image), headers=PNG) for image in images]
        first, second, wide = await asyncio.gather(*asked)
        for image, response in zip(images, (first, second), strict=False):
            assert (pixels(response.content) == image.argmax(0)).all()
        assert wide.status_code == 413
        assert "8x24 pixels do not fit" in error_of(wide)["found"]

    run(story, staff=answering(loaded(whole(Small()))))


TENSOR = {
    "inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, *IMAGE.shape], "data": IMAGE.ravel().tolist()}]
}


def test_the_open_inference_protocol():
    """Names and forms as its specification has them."""

    async def story(client, service):
        assert (await client.get("/v2")).json() == {"name": "segtrial", "version": "0.1.0", "extensions": []}
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        assert (await client.get("/v2/models/known/ready")).json() == {"name": "known", "ready": True}
        told = (await client.get("/v2/models/known")).json()
        assert told["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 3, -1, -1]}]
        assert [one["name"] for one in told["outputs"]] == ["labels", "confidence"]
        assert (told["name"], told["platform"]) == ("known", "segtrial_pytorch")
        both = {"id": "seven", **TENSOR, "outputs": [{"name": "confidence"}, {"name": "labels"}]}
        reply = (await client.post("/v2/models/known/infer", json=both)).json()
        assert (reply["model_name"], reply["id"]) == ("known", "seven")
        sure, labels = reply["outputs"]
        assert (labels["name"], labels["datatype"], labels["shape"]) == ("labels", "UINT8", [1, 12, 17])
        assert labels["data"] == LABELS.ravel().tolist()
        assert (sure["name"], sure["datatype"], len(sure["data"])) == ("confidence", "FP32", LABELS.size)

    run(story)


@pytest.mark.parametrize("outputs", [None, []], ids=str)
def test_no_outputs_asked_for_are_the_labels(outputs):
    async def story(client, service):
        reply = (await client.post("/v2/models/known/infer", json={**TENSOR, "outputs": outputs})).json()
        assert [one["name"] for one in reply["outputs"]] == ["labels"]

    run(story)


def test_tensors_may_be_nested_and_several():
    two = np.stack([IMAGE, IMAGE[::-1]])
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(two.shape), "data": two.tolist()}

    async def story(client, service):
        reply = (await client.post("/v2/models/known/infer", json={"inputs": [tensor]})).json()
        (labels,) = reply["outputs"]
        assert "id" not in reply
        assert (np.array(labels["data"]).reshape(2, 12, 17) == two.argmax(1)).all()

    run(story)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"name": "x"}, 422, "the input"),
        ({"datatype": "FP32"}, 422, "UINT8"),
        ({"shape": [1, 4, 12, 17]}, 422, "the input"),
        ({"shape": [9, 3, 12, 17]}, 422, "at most 8 images"),
        ({"shape": [1, 3, 100_000, 100_000]}, 422, "at most 8 images"),
        ({"shape": [1, 3, -12, -17]}, 422, "the input"),
        ({"shape": ["a"]}, 400, "the request"),
        ({"shape": None}, 400, "the request"),
        ({"data": [1, 2]}, 422, "data"),
        ({"data": [0.5] * IMAGE.size}, 422, "data"),
        ({"data": [256] * IMAGE.size}, 422, "data"),
        ({"data": [-1] * IMAGE.size}, 422, "data"),
        ({"data": [[1], [2, 3]]}, 422, "data"),
        ({"data": {"a": 1}}, 422, "data"),
        ({"data": ["1"] * IMAGE.size}, 422, "data"),
    ],
    ids=str,
)
def test_tensors_that_are_no_image_are_refused(change, status, words):
    """In one sentence, as the protocol has errors."""

    async def story(client, service):
        response = await client.post("/v2/models/known/infer", json={"inputs": [TENSOR["inputs"][0] | change]})
        assert response.status_code == status
        assert words in response.json()["error"]

    run(story)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": []}', b"[" * 50_000, b"\xff\xfe", b'{"inputs": 3}'])
def test_bodies_that_are_no_request_are_refused(body):
    async def story(client, service):
        response = await client.post("/v2/models/known/infer", content=body)
        assert response.status_code == 400
        assert "Open Inference Protocol" in response.json()["error"]

    run(story)


def test_other_faults_of_tensors():
    async def story(client, service):
        unknown = await client.post("/v2/models/nobody/infer", json=TENSOR)
        assert (unknown.status_code, "'nobody'" in unknown.json()["error"]) == (404, True)
        other = await client.post("/v2/models/known/infer", json={**TENSOR, "outputs": [{"name": "scores"}]})
        assert (other.status_code, "labels, confidence" in other.json()["error"]) == (422, True)
        binary = {"inference-header-content-length": "10", "content-type": "application/json"}
        packed = await client.post("/v2/models/known/infer", content=json.dumps(TENSOR), headers=binary)
        assert packed.status_code == 415

    run(story)


def drawn(task, values, confidence=None):
    image = noise(2, 3)
    return answers.record("m", task, image, Answer(values, confidence)), image


def test_a_classifier_answers_in_numbers():
    task = make("classification", CLASSES)
    told, image = drawn(task, np.array([0.25, 0.5, 0.25], np.float32))
    assert [row["probability"] for row in told["classes"]] == [0.25, 0.5, 0.25]
    assert (told["mean_confidence"], told["labels"], told["confidence"]) == (0.5, None, None)
    with pytest.raises(Refused, match=r"classification has no such picture.*answer=json"):
        answers.picture("png", task, image, Answer(np.ones(3, np.float32)))


def test_classes_that_exclude_nothing_are_counted_each():
    masks = np.zeros((3, 2, 3), bool)
    masks[0], masks[2, 0] = True, True
    told, _ = drawn(make("multilabel", CLASSES), masks, np.ones((2, 3), np.float32))
    assert [row["pixels"] for row in told["classes"]] == [6, 0, 3]
    assert [row["share"] for row in told["classes"]] == [1, 0, 0.5]
    assert (pixels(base64.b64decode(told["labels"])) == [[2, 2, 2], [0, 0, 0]]).all()


def test_a_colorizer_answers_with_the_photo():
    task = make("colorization_rgb", CLASSES)
    photo = np.random.default_rng(0).random((3, 2, 3), np.float32)
    told, image = drawn(task, photo)
    assert (told["classes"], told["confidence"], told["mean_confidence"]) == ([], None, None)
    assert np.abs(pixels(base64.b64decode(told["labels"])) - 255 * photo.transpose(1, 2, 0)).max() <= 0.51
    for kind in ("overlay", "confidence"):
        with pytest.raises(Refused, match="no such picture"):
            answers.picture(kind, task, image, Answer(photo))


def test_the_page_is_served_from_this_address_alone():
    async def story(client, service):
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        script = await client.get("/page/page.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for response in (page, script, await client.get("/models"), await client.get("/nothing")):
            policy = response.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in response.headers

    run(story)
