"""recipes/*.yaml and a folder of data sets -> every recipe run to its end, what came of each: results/recipes.

    python benchmarks/recipes.py DATA_ROOT
    python benchmarks/recipes.py DATA_ROOT --only r1-fcn-carried r4-tuned

DATA_ROOT holds the folders that the headers of the recipes name: camvid, camseq01, celebamask19_256, cifar10,
scenes64. For the small budget streets and faces are made small first, so that a core can train and score on them in
minutes; it is the same command on a smaller set. One recipe runs after the other, those first that others start from;
runs go to runs/recipes. A recipe whose record fits what its file says now is not run again, one that was stopped goes
on. One that fails is recorded with its message and tried again the next time; the others are run nevertheless, and the
exit code is 1.
"""

import argparse
import json
import re
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the small copies, which other benchmarks make too

import segtrial as st
from benchmarks.small_copies import make_small
from segtrial import fitdoctor
from segtrial.api import make_recipe
from segtrial.comparison.request import read_request, recipes_of
from segtrial.console import watching
from segtrial.errors import Interrupted, UserError
from segtrial.files import sha256, write_atomic, write_json
from segtrial.recipe import read
from segtrial.reports import comparison_records, records, wording
from segtrial.training import Watch

HERE = Path(__file__).resolve().parent.parent
SMALL = {"camvid": (240, 180), "camseq01": (240, 180), "celebamask19_256": (128, 128)}
"""Set -> pixels of its pictures, from left to right and down, on the small budget."""
CURVE = 12
"""Lines of the train log that a record keeps; of val it keeps all."""
OF_PAIR = ("a", "b", "difference", "interval", "interval_new_scenes", "verdict", "n_seeds", "mde", "sentence")
OF_VARIANT = ("name", "n", "mean", "sd", "values", "parameters", "steps", "multiply_adds")

Json = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """Which budget, and where recipes lie, runs go and records are kept."""

    budget: str = "small"
    recipes: Path = HERE / "recipes"
    runs: Path = HERE / "runs/recipes"
    results: Path = HERE / "results/recipes"

    def out(self, name: str) -> Path:
        """The run folder of a recipe."""
        return self.runs / (name if self.budget == "small" else f"{name}.{self.budget}")

    def record(self, name: str) -> Path:
        """What is kept of its run."""
        return self.results / f"{self.out(name).name}.json"


@dataclass(frozen=True)
class Job:
    """A recipe file as its header says to run it. `needs`: field -> the recipe whose run it starts from."""

    file: Path
    command: str
    data: str
    settings: tuple[str, ...]
    compares: bool
    hash: str
    needs: Mapping[str, str]


def main(words: Sequence[str] | None = None, setup: Setup = Setup()) -> int:
    """Run what is asked for; 1 if a recipe failed, 130 or 143 if somebody asked to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of camvid, camseq01, celebamask19_256, cifar10, scenes64")
    parser.add_argument("--only", nargs="+", help="names of recipes; default: all of recipes/")
    parser.add_argument("--budget", default=setup.budget, help="which of a recipe's budgets; default: small")
    args = parser.parse_args(words)
    setup = replace(setup, budget=args.budget)
    jobs = read_jobs(setup)
    if unknown := sorted(set(args.only or ()) - set(jobs)):
        parser.error(f"no recipe is called {', '.join(unknown)}")
    due, failed = list(order(args.only or list(jobs), jobs, setup)), []
    for number, name in enumerate(due, 1):
        print(f"[{number} of {len(due)}] {jobs[name].command}", flush=True)
        try:
            told = run(name, jobs, args.data.resolve(), setup)
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            return 128 + stop.signal
        failed += [name] if "failed" in told else []
        print(f"{name}: {said(told)}", flush=True)
    print(f"{len(due) - len(failed)} of {len(due)} recipes ran to their end")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def read_jobs(setup: Setup) -> dict[str, Job]:
    """Every recipe file by its name. Raises RecipeError for one that is wrong or has no such budget."""
    files = {path.stem: path for path in sorted(setup.recipes.glob("*.yaml"))}
    return {name: read_job(path, setup.budget, set(files)) for name, path in files.items()}


def read_job(file: Path, budget: str, names: set[str]) -> Job:
    """One recipe file; `names` are those that it may start from."""
    command, tree = command_of(file), read(file)
    words = shlex.split(command)
    given = [pair for pair in pairwise(words) if pair[0].startswith("--")]
    settings = tuple(value for flag, value in given if flag == "--set")
    if "variants" in tree:
        request, place = read_request(file, budget)
        rule = request.model_dump(mode="json", exclude={"base", "variants"})
        hashes = {name: recipe.hash for name, recipe in recipes_of(request, place).items()}
        return Job(file, command, str(tree["base"]["data"]), settings, True, _digest([rule, hashes]), {})
    recipe = make_recipe({}, {}, file, settings, budget)
    starts = {"start": recipe.start or "", "encoder.weights": recipe.encoder.weights}
    needs = {key: Path(place).name for key, place in starts.items() if place.startswith("runs/")}
    needs = {key: name for key, name in needs.items() if name in names}
    return Job(file, command, dict(given)["--data"], settings, False, recipe.hash, needs)


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode())


def header_of(file: Path) -> list[str]:
    """The comment at the beginning of a recipe file, without its marks."""
    lines = file.read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line[1:].removeprefix(" ") for line in lines[:end]]


def command_of(file: Path) -> str:
    """The command of the header that runs this very recipe, in one line."""
    text = "\n".join(header_of(file)).replace("\\\n", " ")
    return " ".join(next(line for line in text.split("\n") if f"recipes/{file.name}" in line).split())


def order(names: Sequence[str], jobs: Mapping[str, Job], setup: Setup) -> Iterator[str]:
    """Those that are to be run, each after what it starts from: that is run again where its weights are gone."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        for needed in jobs[name].needs.values():
            if not (setup.out(needed) / "model.safetensors").exists() or not is_done(needed, jobs, setup):
                add(needed)
        found.setdefault(name)

    for name in names:
        if not is_done(name, jobs, setup):
            add(name)
    return iter(found)


def is_done(name: str, jobs: Mapping[str, Job], setup: Setup) -> bool:
    """Whether a record fits what the recipe, and what it starts from, say now."""
    file = setup.record(name)
    told = json.loads(file.read_bytes()) if file.exists() else {"failed": "never run"}
    return "failed" not in told and _named(name, jobs, setup).items() <= told.items()


def _named(name: str, jobs: Mapping[str, Job], setup: Setup) -> Json:
    """What decides the run."""
    built_on = {other: jobs[other].hash for other in jobs[name].needs.values()}
    return {"hash": jobs[name].hash, "built_on": built_on, "pictures": _size(jobs[name], setup)}


def run(name: str, jobs: Mapping[str, Job], root: Path, setup: Setup) -> Json:
    """Run, or continue, one recipe; writes and returns its record. Raises Interrupted, all saved, on a signal."""
    job, out = jobs[name], setup.out(name)
    told: Json = {"schema": 1, "recipe": name, "budget": setup.budget, "command": job.command, "data": _set_of(job)}
    told |= _named(name, jobs, setup)
    with _timed(out, _digest(_named(name, jobs, setup))) as seconds:
        try:
            with watching() as watch:
                told |= (_compare if job.compares else _train)(job, root, out, setup, watch)
        except Interrupted:
            raise
        except Exception as error:  # whatever it is, the other recipes are run
            if not isinstance(error, UserError):
                traceback.print_exc()
            told["failed"] = _without_places(f"{type(error).__name__}: {error}", root)
        told["seconds"] = seconds()
    write_json(setup.record(name), _short(told))
    return told


@contextmanager
def _timed(out: Path, digest: str) -> Iterator[Callable[[], float]]:
    """Seconds spent on a run, also before it was stopped; one of what the recipe said before is removed."""
    marker = out.with_name(f"{out.name}.begun.json")
    begun = json.loads(marker.read_bytes()) if marker.exists() else {}
    if begun.get("digest") != digest or not out.exists():
        shutil.rmtree(out, ignore_errors=True)
        begun = {"digest": digest, "seconds": 0.0}
        write_json(marker, begun)
    start = time.monotonic()

    def seconds() -> float:
        return begun["seconds"] + time.monotonic() - start

    try:
        yield seconds
    finally:
        write_json(marker, begun | {"seconds": seconds()})


def _train(job: Job, root: Path, out: Path, setup: Setup, watch: Watch) -> Json:
    settings = [*job.settings, *(f"{key}={setup.out(name)}" for key, name in job.needs.items())]
    data = _place(job, root, setup)
    st.train(recipe=job.file, data=data, out=out, budget=setup.budget, settings=settings, watch=watch)
    return trained(out)


def _compare(job: Job, root: Path, out: Path, setup: Setup, watch: Watch) -> Json:
    tree = dict(read(job.file))
    tree["base"] = {**tree["base"], "data": str(_place(job, root, setup))}
    told = st.compare(tree, out, budget=setup.budget, workers=1, watch=watch)
    if told["failures"]:
        return {"failed": _without_places("; ".join(each["message"] for each in told["failures"]), root)}
    return compared(out, told)


def trained(folder: Path) -> Json:
    """What a record keeps of a finished run."""
    found = records.read(folder)
    assert found.evaluation is not None
    scores = {key: value for key, value in found.evaluation.items() if key not in ("schema", "definitions", "split")}
    every = max(1, -(-len(found.train) // CURVE))
    return {
        **scores,
        "train": [*found.train[: -1 if found.train else 0 : every], *found.train[-1:]],
        "val": list(found.val),
        "fit": [{"code": each.code, "message": each.message} for each in fitdoctor.examine(found).findings],
        "parts": found.plan["parts"],
        "steps": found.last_step,
        "parameters": found.plan["model"]["parameters"],
        "training_seconds": found.seconds,
        **_machine(found),
    }


def compared(folder: Path, told: Mapping[str, Any]) -> Json:
    """What a record keeps of a finished comparison."""
    first = comparison_records.read(folder).first()
    assert first is not None
    tuning = told["tuning"]["variants"] if told["tuning"] else {}
    return {
        "score": told["score"],
        "n_images": told["held_out"]["images"],
        "variants": [{key: variant[key] for key in OF_VARIANT} for variant in told["variants"]],
        "pairs": [{key: pair[key] for key in OF_PAIR} for pair in told["pairs"]],
        "chosen": {name: found["chosen"] for name, found in tuning.items()},
        **_machine(first),
    }


def _machine(found: records.Run) -> Json:
    return {"threads": found.plan["threads"], "device": found.plan["device"], "cpu": found.environment.get("cpu")}


def _place(job: Job, root: Path, setup: Setup) -> Path:
    """The data: a folder of the root, or the description that the header writes out, with that folder as its root."""
    folder = root / _set_of(job)
    if size := _size(job, setup):
        folder = make_small(folder, setup.runs / "data" / _set_of(job), (size[0], size[1]))
    if not job.data.endswith(".yaml"):
        return folder
    header = header_of(job.file)
    start = next(number for number, line in enumerate(header) if line.startswith(f"{job.data} "))
    place = setup.runs / "data" / f"{job.file.stem}.yaml"
    text = "\n".join([f"root: {json.dumps(str(folder))}", *(line[2:] for line in header[start + 1 :])])
    write_atomic(place, f"{text}\n".encode())
    return place


def _size(job: Job, setup: Setup) -> list[int] | None:
    """What the pictures are made, if anything."""
    size = SMALL.get(_set_of(job)) if setup.budget == "small" else None
    return list(size) if size else None


def _set_of(job: Job) -> str:
    """The name of the data set; of a description, the one in brackets in the header's line of data."""
    if not job.data.endswith(".yaml"):
        return job.data
    line = next(line for line in header_of(job.file) if line.startswith("Data: "))
    return re.findall(r"\((\w+)\)", line)[0]


def _without_places(message: str, root: Path) -> str:
    return message.replace(str(root), "DATA_ROOT").replace(f"{HERE}/", "")


def _short(value: Any) -> Any:
    """Numbers with five digits: a record is read by people too."""
    if isinstance(value, Mapping):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def said(told: Mapping[str, Any]) -> str:
    """A record in a line: how long, and what came out."""
    if "failed" in told:
        return f"failed: {told['failed']}"
    took = wording.duration(told["seconds"])
    if "pairs" in told:
        means = ", ".join(f"{one['name']} {wording.score(one['mean'])}" for one in told["variants"])
        return f"{took}; {told['score']}: {means}"
    return f"{took}, {told['steps']} steps; {told['headline']} {wording.score(told['scores'][told['headline']])}"


if __name__ == "__main__":
    sys.exit(main())
