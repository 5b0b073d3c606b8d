"""The verbs that look into a model in Python: pages that explain its answers, and a temperature for its confidence."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from segtrial.data import open_dataset
from segtrial.errors import RecipeError
from segtrial.files import folder_lock
from segtrial.training.watch import Silent, Watch

Source = str | Path


def explain(
    model: Source,
    images: Iterable[Source] = (),
    out: Source = "why",
    *,
    data: Source | None = None,
    split: str = "val",
    worst: int = 6,
    classes: Iterable[str] = (),
    region: Sequence[int] | None = None,
    layer: str | None = None,
    patch: int | None = None,
    most_side: int | None = None,
    device: str = "auto",
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Write into `out` a page for each image that says why the model answers so, and index.html; returns the index.

    `images` are named as for `segtrial.predict`; those that belong to `data` are shown with their truth. Without
    images the `worst` of a part of `data` (or of what a run was trained on) are explained, and the part's calibration
    is drawn. `classes` by name are asked about (else the commonest and the largest mistake), where they are answered or
    in `region`: left, top, right, bottom in pixels. `layer`, `patch`, `most_side`: see `segtrial.explaining`. Raises
    UserError for a model of colours, names that there are not, and as `evaluate` and `predict` do.
    """
    from segtrial import api, evaluation, explaining
    from segtrial.explaining.one_image import MOST_SIDE
    from segtrial.hardware import pick_device
    from segtrial.reports import explain_report

    watch, place, images = watch or Silent(), pick_device(device), list(images)
    loaded = api.load(model, device=str(place))
    explaining.require_probabilities(loaded.task)
    if region is not None and len(region) != 4:
        raise RecipeError("--region", f"{len(region)} numbers", "Give left,top,right,bottom in pixels")
    box = None if region is None else (region[0], region[1], region[2], region[3])
    wish = explaining.Wish(tuple(classes), box, layer, patch, MOST_SIDE if most_side is None else most_side)
    calibration = None
    if images:
        dataset = None if data is None else open_dataset(data, content=loaded.task.content)
        if dataset is not None:
            loaded.require_classes(str(data), dataset.classes)
        jobs = explaining.picture_jobs(images, Path(out), loaded.network.channels, dataset)
    else:
        part = api.stores(model, loaded, data, (split,), watch)[0]
        bar = partial(watch.bar, what=f"evaluating {split}")
        counts = evaluation.evaluate(loaded.network, part, loaded.task, device=place, extras=True, progress=bar)
        calibration = explaining.part_calibration(counts, split)
        jobs = explaining.worst_jobs(part, counts, loaded.task, worst)
    explaining.explain_jobs(loaded, jobs, Path(out), wish, calibration, watch.bar)
    return explain_report.write(Path(out))


def calibrate(
    model: Source,
    data: Source | None = None,
    split: str = "val",
    *,
    out: Source | None = None,
    device: str = "auto",
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Fit the temperature of a model's probabilities to a part of `data`, and store it in the model file.

    The file is the run's own, or `out`; a model on the hub needs one. Label maps stay as they are; whatever shows
    confidence uses the temperature. Returns what `segtrial calibrate --json` prints. Raises UserError for a model of
    colours, RunError for a run that is being trained, and as `evaluate` does.
    """
    from segtrial import api, explaining, hub, modelfile
    from segtrial.hardware import pick_device

    wanted = hub.id_of(str(model))
    if wanted and out is None:
        raise RecipeError("--out", f"not given, and {model} is on the hub", "Name the file to write")
    source = hub.fetch(wanted) if wanted else api.model_path(Path(model))
    target, watch = source if out is None else Path(out), watch or Silent()
    with folder_lock(source.parent) if target == source and _is_run(source.parent) else nullcontext():
        loaded = modelfile.load(source, str(pick_device(device)))
        explaining.require_probabilities(loaded.task)
        part = api.stores(model, loaded, data, (split,), watch)[0]
        found = explaining.calibrate(loaded, part, partial(watch.bar, what=f"calibrating on {split}"))
        modelfile.calibrated(source, found.temperature, target, digest=loaded.digest)
    return {"schema": 1, "model": str(target), "split": split, **found.to_json()}


def _is_run(folder: Path) -> bool:
    """Whether a training writes, or wrote, into the folder."""
    return (folder / "recipe.yaml").is_file()
