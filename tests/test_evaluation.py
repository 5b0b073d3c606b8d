"""Evaluation: the same counts however images are batched or dealt out, exact files, and the frozen JSON."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing, nn

from segtrial.boundaries import boundary_counts
from segtrial.calibration import calibration_counts, expected_calibration_error
from segtrial.classes import Classes
from segtrial.data.sample import Sample
from segtrial.errors import Interrupted, RunError
from segtrial.evaluation import Counts, evaluate, load_counts, result_json, save_counts
from segtrial.losses import Criterion, terms
from segtrial.shapes import IGNORE
from segtrial.tasks import make
from segtrial.training.loop import batch_scores

CPU = torch.device("cpu")
TASK = make("segmentation", Classes.numbered(4))
TWO = make("segmentation", Classes.numbered(2))
COLORS = make("colorization", Classes.named(["photo"]), (3.0, -2.0))
CRITERION = Criterion(terms("cross_entropy"))


class Part:
    """`count` random images; every third is of another size, so that batches are uneven."""

    def __init__(self, count: int, groups: int = 3):
        self.sizes = [(9, 7) if index % 3 else (5, 11) for index in range(count)]
        self.keys = [f"clip/{(7 * index) % count:03}" for index in range(count)]  # not in key order
        self.groups = [f"clip{index % groups}" for index in range(count)]

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        height, width = self.sizes[index]
        target = rng.integers(0, 4, (height, width)).astype(np.uint8)
        target[rng.random((height, width)) < 0.2] = IGNORE
        image = rng.integers(0, 256, (3, height, width)).astype(np.uint8)
        return Sample(image, target, self.keys[index], self.groups[index])


class Photos(Part):
    """The same images as photos, which have no mask."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return Sample(sample.image, np.zeros_like(sample.target), sample.key, sample.group)


class Network(nn.Module):
    """A convolution, batch norm and dropout: what changes between training and evaluation."""

    def __init__(self, outputs: int = 4):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.Dropout(0.5))
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return self.layers(images.float() / 255).float()


def one_by_one(network: nn.Module, part: Part) -> dict[str, tuple[np.ndarray, float]]:
    """Counts and summed cross-entropy of each key, by loops."""
    found = {}
    for index in range(len(part.keys)):
        sample, table = part[index], np.zeros((4, 4), np.int64)
        with torch.no_grad():
            logits = network.eval()(torch.from_numpy(sample.image)[None])
        for truth, answer in zip(sample.target.ravel(), logits.argmax(1).numpy().ravel(), strict=True):
            if truth != IGNORE:
                table[truth, answer] += 1
        target = torch.from_numpy(sample.target).long()[None]
        found[sample.key] = table, F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum").item()
    return found


@pytest.mark.parametrize("count", [1, 2, 13, 30])
def test_rows_are_those_of_images_taken_one_by_one(count):
    part = Part(count)
    result, expected = evaluate(Network(), part, TASK, device=CPU, criterion=CRITERION), one_by_one(Network(), part)
    assert list(result.keys) == sorted(part.keys)
    assert dict(zip(result.keys, result.groups, strict=True)) == dict(zip(part.keys, part.groups, strict=True))
    for key, row, loss in zip(result.keys, result.counts, result.loss_sums, strict=True):
        np.testing.assert_array_equal(row, expected[key][0])
        assert loss[0] == pytest.approx([expected[key][1], expected[key][0].sum()], rel=1e-5)
    pixels = sum(table.sum() for table, _ in expected.values())
    mean = sum(loss for _, loss in expected.values()) / pixels
    assert CRITERION.value(result.loss_sums) == pytest.approx(mean, rel=1e-5)


def test_images_of_one_size_go_together():
    network = Network()
    evaluate(network, Part(30), TASK, device=CPU)
    assert sorted(network.batches) == [2, 4, 8, 8, 8]  # 10 of one size, 20 of the other


def test_a_big_image_goes_alone():
    class Big(Part):
        def __init__(self):
            super().__init__(2)
            self.sizes = [(1100, 1000)] * 2

    network = Network()
    evaluate(network, Big(), TASK, device=CPU)
    assert network.batches == [1, 1]


def test_every_module_is_left_in_its_mode():
    network = Network().train()
    network.layers[1].eval()  # frozen while the rest trains
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, Part(4), TASK, device=CPU)
    assert [module.training for module in network.layers] == [True, False, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_bfloat16_is_computed_in_where_asked():
    class Spy(Network):
        def forward(self, images):
            self.dtype = self.layers(images.float()).dtype
            return super().forward(images)

    network = Spy()
    evaluate(network, Part(2), TASK, device=CPU, precision=torch.bfloat16)
    assert network.dtype == torch.bfloat16
    evaluate(network, Part(2), TASK, device=CPU)
    assert network.dtype == torch.float32


def test_progress_counts_images_and_a_check_can_stop():
    seen: list[tuple[int, int]] = []
    evaluate(Network(), Part(30), TASK, device=CPU, progress=lambda done, of: seen.append((done, of)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (30, 30)

    network = Network().train()

    def stop() -> None:
        if network.batches:
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        evaluate(network, Part(30), TASK, device=CPU, check=stop)
    assert len(network.batches) == 1
    assert network.training


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_of_equal_scores_the_first_class_is_the_answer(memory_format):
    logits = torch.randint(3, (2, 9, 16, 33), generator=torch.Generator().manual_seed(0)).float()
    first = np.argmax(logits.numpy(), axis=1)  # numpy promises the first
    found = make("segmentation", Classes.numbered(9)).labels(logits.contiguous(memory_format=memory_format)).numpy()
    np.testing.assert_array_equal(found, first)


def _evaluate_as_rank(rank: int, world: int, folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    address = (folder / f"meet{count}").as_uri()
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    result = evaluate(Network(), Part(count), TASK, device=CPU, criterion=CRITERION)
    save_counts(folder / f"{count}.{rank}.npz", result)
    np.save(folder / f"{count}.{rank}.npy", result.loss_sums)
    rows = evaluate(Network(2), Photos(count), COLORS, device=CPU).counts
    np.save(folder / f"colors{count}.{rank}.npy", rows)
    learner = SimpleNamespace(task=COLORS, device=CPU, rows=lambda batch: torch.from_numpy(rows[rank::world]))
    (folder / f"colors{count}.{rank}.json").write_text(json.dumps(batch_scores(learner, None)))  # type: ignore[arg-type]
    torch.distributed.destroy_process_group()


def _evaluate_twice(rank: int, folder: str) -> None:
    for count in (13, 1):  # an uneven last batch; a rank without any image
        _evaluate_as_rank(rank, 2, Path(folder), count)


def test_two_processes_count_what_one_counts(tmp_path):
    multiprocessing.spawn(_evaluate_twice, (str(tmp_path),), nprocs=2)
    for count in (13, 1):
        alone = evaluate(Network(), Part(count), TASK, device=CPU, criterion=CRITERION)
        save_counts(tmp_path / "alone.npz", alone)
        for rank in (0, 1):
            assert (tmp_path / f"{count}.{rank}.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()
            np.testing.assert_array_equal(np.load(tmp_path / f"{count}.{rank}.npy"), alone.loss_sums)
        colors = evaluate(Network(2), Photos(count), COLORS, device=CPU).counts  # in float64
        for rank in (0, 1):
            np.testing.assert_array_equal(np.load(tmp_path / f"colors{count}.{rank}.npy"), colors)
            logged = json.loads((tmp_path / f"colors{count}.{rank}.json").read_text())  # of a batch that both hold
            assert logged == pytest.approx({name: COLORS.summary(colors)[name] for name in COLORS.logged})


COUNTS = Counts(("a/1", "a/2", "ü"), ("a", "a", "ü"), np.arange(12, dtype=np.int64).reshape(3, 2, 2) * 10**15)


def test_counts_come_back_from_their_file(tmp_path):
    path = tmp_path / "deep" / "val.npz"
    save_counts(path, COUNTS)
    back = load_counts(path, TWO)
    assert (back.keys, back.groups) == (COUNTS.keys, COUNTS.groups)
    np.testing.assert_array_equal(back.counts, COUNTS.counts)
    assert back.loss_sums is None
    with np.load(path, allow_pickle=False) as file:  # readable without Segtrial
        assert file["keys"].tolist() == list(COUNTS.keys)
        assert file["counts"].dtype == np.int64


def test_equal_counts_give_equal_bytes_without_a_date(tmp_path):
    for name in ("one.npz", "two.npz"):
        save_counts(tmp_path / name, COUNTS)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_part_without_images_has_a_file_too(tmp_path):
    save_counts(tmp_path / "none.npz", Counts((), (), np.zeros((0, 2, 2), np.int64)))
    assert load_counts(tmp_path / "none.npz", TWO).counts.shape == (0, 2, 2)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"val\.npz: there is no such file\. Evaluate again"):
        load_counts(tmp_path / "val.npz", TWO)


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path, share):
    save_counts(tmp_path / "val.npz", COUNTS)
    data = (tmp_path / "val.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: int(share * len(data))])
    with pytest.raises(RunError, match=r"cut\.npz: this is no file of counts, or a damaged one"):
        load_counts(tmp_path / "cut.npz", TWO)


def test_every_flipped_byte_of_the_arrays_is_noticed_or_harmless(tmp_path):
    save_counts(tmp_path / "val.npz", COUNTS)
    data, path = (tmp_path / "val.npz").read_bytes(), tmp_path / "flipped.npz"
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            back = load_counts(path, TWO)
        except RunError:
            continue
        np.testing.assert_array_equal(back.counts, COUNTS.counts)  # a byte that no reader uses


def test_another_kind_of_file_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", COUNTS.counts)
    with pytest.raises(RunError, match=r"one\.npy: this is no file of counts, or a damaged one \(File is not a zip"):
        load_counts(tmp_path / "one.npy", TWO)


def test_a_pickle_inside_is_never_opened(tmp_path):
    np.savez(tmp_path / "evil.npz", keys=np.array([{}], object), groups=np.array(["a"]), counts=np.zeros((1, 2, 2)))
    with pytest.raises(RunError, match=r"evil\.npz: this is no file of counts.*allow_pickle=False"):
        load_counts(tmp_path / "evil.npz", TWO)


GOOD = {"keys": np.array(["a"]), "groups": np.array(["g"]), "counts": np.ones((1, 2, 2), np.int64)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": np.array([1])}, "keys are int64"),
        ({"groups": np.array(["a", "b"])}, r"groups <U1 \(2,\)"),
        ({"counts": np.ones((1, 2, 2))}, "counts are float64"),
        ({"counts": np.ones((1, 2, 3), np.int64)}, r"counts are int64 \(1, 2, 3\)"),
        ({"counts": np.ones((2, 2, 2), np.int64)}, "2 rows of counts, the least 1, for 1 keys"),
        ({"counts": -np.ones((1, 2, 2), np.int64)}, "1 rows of counts, the least -1, for 1 keys"),
    ],
)
def test_arrays_that_are_no_counts_are_refused(tmp_path, change, message):
    np.savez(tmp_path / "val.npz", **(GOOD | change))
    with pytest.raises(RunError, match=rf"val\.npz: .*{message}.*Evaluate again"):
        load_counts(tmp_path / "val.npz", TWO)


def example(blocks: int) -> Counts:
    rows = np.random.default_rng(0).integers(1, 100, (10, 2, 2))
    keys = tuple(f"{index}" for index in range(10))
    return Counts(keys, tuple(f"clip{index % blocks}" for index in range(10)), rows)


def test_the_json_has_the_shape_that_is_promised():
    found = result_json(example(blocks=6), make("segmentation", Classes.named(["sky", "pole"])))
    assert list(found) == [
        *("schema", "task", "headline", "scores", "intervals", "per_class", "n_images", "definitions")
    ]
    assert (found["schema"], found["n_images"]) == (1, 10)
    names = [*("miou_dataset", "miou_image", "miou_class", "pixel_accuracy")]
    names += ["mean_class_accuracy", "dice_dataset", "frequency_weighted_iou"]
    assert list(found["scores"]) == list(found["intervals"]) == names
    for name in names:
        interval = found["intervals"][name]
        assert list(interval) == ["low", "high", "over", "n_blocks"]
        assert (interval["over"], interval["n_blocks"]) == ("blocks", 6)
        assert interval["low"] <= found["scores"][name] <= interval["high"]
    fields = ["name", "iou", "dice", "precision", "recall", "f1", "support"]
    assert [list(row) for row in found["per_class"]] == [fields, fields]
    assert [row["name"] for row in found["per_class"]] == ["sky", "pole"]
    assert {*names, *fields[1:]} < set(found["definitions"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_one_clip_has_no_interval_but_a_reason():
    found = result_json(example(blocks=1), TWO)
    assert set(found["intervals"].values()) == {None}
    assert found["reason"] == "10 images are one block (clip0): an interval needs at least 5 independent blocks"


def test_undefined_numbers_are_null():
    empty = Counts(("a",), ("a",), np.zeros((1, 2, 2), np.int64), np.zeros((1, 1, 2)))
    found = result_json(empty, TWO)
    assert set(found["scores"].values()) == {None}
    assert CRITERION.value(empty.loss_sums) is None
    assert found["per_class"][0] == dict.fromkeys(found["per_class"][0]) | {"name": "class_0", "support": 0}
    json.dumps(found, allow_nan=False)


def test_extras_are_counted_saved_and_scored(tmp_path):
    part = Part(13)
    result = evaluate(Network(), part, TASK, device=CPU, extras=True)
    samples = {sample.key: sample for sample in (part[index] for index in range(13))}
    for key, calibration, borders in zip(result.keys, result.more["ece"], result.more["boundary_f1"], strict=True):
        image, target = (torch.from_numpy(one)[None] for one in (samples[key].image, samples[key].target))
        with torch.no_grad():
            logits = Network().eval()(image)
        np.testing.assert_allclose(calibration, calibration_counts(logits, target)[0], rtol=1e-5)  # sums of softmaxes
        np.testing.assert_array_equal(borders, boundary_counts(logits.argmax(1).to(torch.uint8), target, 4)[0])
    save_counts(tmp_path / "val.npz", result)
    back = load_counts(tmp_path / "val.npz", TASK)
    assert all(np.array_equal(back.more[name], result.more[name]) for name in ("ece", "boundary_f1"))
    found = result_json(back, TASK)
    assert found["scores"]["ece"] == pytest.approx(expected_calibration_error(result.more["ece"].sum(0)))
    assert {"ece", "boundary_f1"} <= set(found["definitions"]) & set(found["intervals"])
