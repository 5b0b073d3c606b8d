"""A model and a data set -> the images that the model has not trained on, as far as its run says.

A run says how it split its data and which images were val; the split is made again and compared with that. Images are
known by their names where the data set is the run's own, else by their files.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtrial import modelfile
from segtrial.data import open_dataset
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions
from segtrial.errors import RunError, UserError
from segtrial.evaluation import load_counts
from segtrial.modelfile import Loaded
from segtrial.recipe import Recipe, from_tree
from segtrial.tasks import TASKS, Task

MODEL = "model.safetensors"


@dataclass(frozen=True)
class HeldOut:
    """`keys` of the images that a model has not trained on. Where `doubt` says why nothing is known, all of them."""

    keys: frozenset[str]
    doubt: str = ""


@dataclass(frozen=True)
class _Record:
    """What a run folder says of its data: the recipe, images of train, keys of val, digest of what it started from."""

    recipe: Recipe
    train: int
    val: frozenset[str]
    start: str | None


def model_file(place: Path) -> Path:
    """The model of a run folder, or the file itself. Raises RunError for a folder without one."""
    if not place.is_dir():
        return place
    if not (place / MODEL).exists():
        raise RunError(place, f"no {MODEL} in it", "Name a model file or a run folder that has finished")
    return place / MODEL


def held_out(place: Path, model: Loaded, source: str, dataset: Dataset, items: Sequence[Item]) -> HeldOut:
    """Which of `items`, of the data set that `source` names, the model of `place` (a run or a file) has not seen.

    Raises RunError if the run is damaged.
    """
    everything = frozenset(item.key for item in items)
    folder = model_file(place).parent
    if not (folder / "plan.json").is_file() or model_file(place).name != MODEL:
        return HeldOut(everything, "it is a model file without its run")
    run = _read(folder, model.task)
    if run.start is None:
        return _of_run(run, source, dataset, items)
    before = _of_start(run, source, dataset, items)
    own = _of_run(run, source, dataset, items)
    return HeldOut(own.keys & before.keys, own.doubt or before.doubt)


def _read(folder: Path, task: Task) -> _Record:
    file = folder / "plan.json"
    try:
        plan = json.loads(file.read_bytes())
        wanted, train, start = plan["recipe"], int(plan["parts"]["train"]), plan.get("start")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(file, f"not a plan ({error!r})", "Restore the file, or train again") from error
    val = load_counts(folder / "counts" / "val.npz", task).keys
    return _Record(from_tree(wanted, str(file)), train, frozenset(val), start)


def _of_start(run: _Record, source: str, dataset: Dataset, items: Sequence[Item]) -> HeldOut:
    """What the model has not seen that a run took its first weights from."""
    place = Path(run.recipe.start or "")
    doubt = f"it started from {place}"
    try:
        before = modelfile.load(model_file(place))
    except UserError:
        return HeldOut(frozenset(item.key for item in items), f"{doubt}, which is not there any more")
    if before.digest != run.start:
        return HeldOut(frozenset(item.key for item in items), f"{doubt}, which is another model now")
    found = held_out(place, before, source, dataset, items)
    return HeldOut(found.keys, f"{doubt}; of that, {found.doubt}" if found.doubt else "")


def _of_run(run: _Record, source: str, dataset: Dataset, items: Sequence[Item]) -> HeldOut:
    everything = frozenset(item.key for item in items)
    here = _split(source, run)
    if here is not None:  # it is the run's own data, wherever it lies now
        return HeldOut(everything - {item.key for item in here.parts["train"]})
    there = _split(run.recipe.data, run)
    if there is not None:
        seen = {_identity(there, item) for item in there.parts["train"]}
        return HeldOut(frozenset(item.key for item in items if _identity(dataset, item) not in seen))
    if everything & run.val:  # images were added or taken away since: those of val are sure all the same
        return HeldOut(everything & run.val)
    return HeldOut(everything, f"its data ({run.recipe.data}) are not there any more, or not as they were")


def _split(source: str, run: _Record) -> Dataset | None:
    """The data set split as the run did it; None unless train is as large as the run's, and val the same."""
    options = SplitOptions(**run.recipe.split.model_dump())
    try:
        dataset = open_dataset(source, options, TASKS[run.recipe.task].content)
    except UserError:
        return None
    train, val = (dataset.parts.get(part, ()) for part in ("train", "val"))
    return dataset if len(train) == run.train and {item.key for item in val} == run.val else None


def _identity(dataset: Dataset, item: Item) -> str:
    """The file of an image; what stands for it where it has none of its own."""
    return dataset.fingerprint(item) if item.image is None else str(item.image.resolve())
