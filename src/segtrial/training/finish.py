"""A trained learner -> what a run leaves: val line, model file, counts, examples, and last the evaluation."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from segtrial import modelfile
from segtrial.data.cache import Store
from segtrial.evaluation import Counts, result_json, save_counts
from segtrial.files import failpoint, write_atomic, write_json
from segtrial.models._whole import Whole
from segtrial.prediction import answer
from segtrial.signals import StopRequest
from segtrial.training.folder import LAST_WRITTEN, RunFolder
from segtrial.training.learner import Learner
from segtrial.training.loop import counted, summary_of
from segtrial.training.state import Progress
from segtrial.training.watch import Watch

EXAMPLES = 4
"""Images shown from each end of the ranking, and from its middle."""


def finish(
    learner: Learner,
    stores: Mapping[str, Store],
    folder: RunFolder | None,
    progress: Progress,
    best: dict[str, Tensor],
    watch: Watch,
    stop: StopRequest,
) -> None:
    """Score the kept weights on val and write everything. Killed here, a run does this again from its last state."""
    network, val = learner.kept(), stores["val"]
    result = counted(learner, stores, watch, stop, "evaluating", extras=True)
    headline = learner.task.summary(result.counts)[learner.task.headline]
    if learner.recipe.keep == "best" and not progress.improved(headline) and best:
        network.load_state_dict(best)  # with the statistics that it was scored with
        result = counted(learner, stores, watch, stop, "evaluating", extras=True, as_is=True)
    if folder is None:
        return
    scores = summary_of(learner, result)  # of the weights that are kept
    epoch = round(learner.plan.epoch(learner.steps_done), 4)
    folder.log({"step": learner.steps_done, "epoch": epoch, "split": "val", **scores})
    modelfile.save(folder.model, network, _header(learner, val))
    failpoint("finish.after_model")
    save_counts(folder.path / "counts" / "val.npz", result)
    _write_examples(folder, network, learner, val, result)
    failpoint("finish.before_evaluation")
    write_json(folder.path / LAST_WRITTEN, {**result_json(result, learner.task), "split": "val"})


def _header(learner: Learner, val: Store) -> modelfile.Header:
    plan, recipe = learner.plan, learner.recipe
    heights, widths = zip(*val.sizes, strict=True)
    return modelfile.Header(
        schema=1,
        architecture=plan.model["name"],
        task=plan.task,
        mean_color=plan.mean_color,
        options=plan.model["options"],
        classes=plan.class_table(),
        in_channels=plan.in_channels,
        mean=plan.mean,
        std=plan.std,
        image_sizes=modelfile.Sizes(smallest=(min(heights), min(widths)), largest=(max(heights), max(widths))),
        provenance=modelfile.Provenance(
            recipe_hash=recipe.hash,
            manifest=plan.manifest,
            steps=learner.steps_done,
            seed=recipe.seed,
            segtrial=version("segtrial"),
        ),
    )


def _write_examples(folder: RunFolder, network: Whole, learner: Learner, val: Store, result: Counts) -> None:
    """What the task shows of the worst, middle and best val images, as PNG files, and what it says of them."""
    place, task = folder.path / "examples" / "val", learner.task
    scores = task.of_image(result.counts)
    rows, position = [], {key: index for index, key in enumerate(val.keys)}
    network = network.to(learner.device).eval()
    for number, (rank, row) in enumerate(_chosen(scores)):
        sample = val[position[str(result.keys[row])]]
        given = answer(network, task, sample.image, precision=getattr(torch, learner.plan.precision))
        drawn = task.example(sample.image, sample.target, given)
        names = {what: f"{number}.{what}.png" for what in drawn}
        for what, data in drawn.items():
            write_atomic(place / names[what], data)
        said = {"key": sample.key, "group": sample.group, "score": float(scores[row]), "rank": rank}
        rows.append({**said, "said": task.said(sample.target, given), "pictures": names})
    write_json(place / "index.json", {"schema": 1, "images": rows})


def _chosen(scores: np.ndarray) -> list[tuple[str, int]]:
    """(rank word, row) of the images to show: both ends and the middle of those that have a score, none twice."""
    order = [int(row) for row in np.argsort(scores, kind="stable") if np.isfinite(scores[row])]
    middle = len(order) // 2
    wanted = [("worst", order[:EXAMPLES]), ("best", order[::-1][:EXAMPLES]), ("middle", order[middle : middle + 2])]
    shown: dict[int, str] = {}
    for rank, rows in wanted:
        for row in rows:
            shown.setdefault(row, rank)
    return [(rank, row) for row, rank in shown.items()]
