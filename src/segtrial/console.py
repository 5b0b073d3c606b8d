"""What happens -> words for whoever watches: a live line on a terminal, plain lines in a log.

Progress goes to stderr, so that stdout holds the result alone. `segtrial.training.Watch` is what both watchers are.
"""

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from segtrial.errors import listing, several
from segtrial.reports import tables, wording

if TYPE_CHECKING:
    from segtrial.prediction import PredictionReport

SECONDS_BETWEEN_LINES = 10.0
"""In a log a line every now and then is enough."""

SECONDS_BETWEEN_FRAMES = 0.1
"""On a terminal; drawing more often would take time from training and nobody could read it."""

ROWS_APART, BAR = 4, 40
"""Of a curve in plain text: every fourth rate has a row, a third of a decade from the next; letters of the longest."""


@runtime_checkable
class Watcher(Protocol):
    """A `segtrial.training.Watch` that can be closed."""

    def note(self, text: str) -> None: ...
    def bar(self, done: int, total: int, what: str) -> None: ...
    def step(self, record: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


class Live:
    """Bars that move, for a person at a terminal."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[says]}"))
        # Drawn by hand: a thread that draws would be forked into data workers while it holds its lock.
        self._progress = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
        self._tasks: dict[str, TaskID] = {}
        self._clock, self._drawn = clock, float("-inf")

    def note(self, text: str) -> None:
        self._console.print(wording.plain(text), markup=False, highlight=False, soft_wrap=True)

    def bar(self, done: int, total: int, what: str) -> None:
        self._move(what, done, total, f"{done}/{total}")

    def step(self, record: dict[str, Any]) -> None:
        self._move("training", record["step"], record["steps"], step_words(record))

    def close(self) -> None:
        self._progress.stop()

    def _move(self, what: str, done: int, total: int, says: str) -> None:
        if what not in self._tasks:
            self._progress.start()
            self._tasks[what] = self._progress.add_task(what, total=total, says=says)
        self._progress.update(self._tasks[what], completed=done, total=total, says=says)
        if done >= total:
            self._progress.remove_task(self._tasks.pop(what))
        if done >= total or self._clock() - self._drawn >= SECONDS_BETWEEN_FRAMES:
            self._drawn = self._clock()
            self._progress.refresh()


class Lines:
    """A line now and then, for logs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._printed = clock, clock()

    def note(self, text: str) -> None:
        print(wording.plain(text), file=sys.stderr, flush=True)

    def bar(self, done: int, total: int, what: str) -> None:
        self._sometimes(f"{what}: {done}/{total}")

    def step(self, record: dict[str, Any]) -> None:
        self._sometimes(f"training: {step_words(record)}", always=record["step"] == record["steps"])

    def close(self) -> None:
        pass

    def _sometimes(self, text: str, *, always: bool = False) -> None:
        if always or self._clock() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = self._clock()
            self.note(text)


def step_words(record: Mapping[str, Any]) -> str:
    """ "120/900 steps, loss 0.812, miou_dataset 0.431, 38 images/s, 3 min 10 s left": what is known of it."""
    words = [f"{record['step']}/{record['steps']} steps", f"loss {record['loss']:.3f}"]
    if record.get("score") is not None:
        words.append(f"{record['headline']} {wording.score(record['score'])}")
    if record.get("images_per_second") is not None:
        words.append(f"{record['images_per_second']:.3g} images/s")
    if record.get("seconds_left") is not None:
        words.append(f"{wording.duration(record['seconds_left'])} left")
    return ", ".join(words)


@contextmanager
def loading() -> Iterator[None]:
    """A word on a terminal while torch is loaded, which takes seconds; gone afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    print("loading ...", end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def watching() -> Iterator[Watcher]:
    """Somebody to tell: `Live` where stderr is a terminal, else `Lines`; the terminal is left tidy."""
    watcher = Live() if sys.stderr.isatty() else Lines()
    try:
        yield watcher
    finally:
        watcher.close()


def print_models(models: Sequence[Mapping[str, Any]], classes: int) -> None:
    """What `segtrial models` shows: a line or two for each network, on stdout."""
    console = Console(highlight=False)
    for model in models:
        options = ", ".join(f"{option['name']}={_word(option['default'])}" for option in model["options"])
        size = f"{wording.short_count(model['parameters'])} parameters"
        console.print(f"[bold]{model['name']}[/bold]  {escape(model['caption'])}", soft_wrap=True)
        console.print(f"  {size}{f'; {options}' if options else ''}", markup=False, soft_wrap=True)
    print(f"\nParameters at the default options, for 3 channels and {classes} classes.")
    print("`segtrial models NAME` says what may be chosen, what it costs, and what differs from the paper.")


def print_model(model: Mapping[str, Any], classes: int) -> None:
    """What `segtrial models NAME` shows: everything about one network, on stdout."""
    console = Console(highlight=False)
    console.print(f"[bold]{model['name']}[/bold]  {escape(model['caption'])}", soft_wrap=True)
    console.print(model["paper"], markup=False, soft_wrap=True)
    if model["differs"]:
        console.print(f"\n{model['differs']}", markup=False)
    console.print("\nOptions" if model["options"] else "\nNo options.")
    for option in model["options"]:
        console.print(f"  {_spelt(option)}", markup=False, soft_wrap=True)
    costs = model["costs"]
    height, width = costs["size"]
    print(f"\n{model['parameters']:,} parameters learn, for 3 channels and {classes} classes.")
    print(f"An image of {height}x{width} pixels: {costs['multiply_adds'] / 1e9:.4g} billion multiply-adds forward.")
    print(
        f"A training step in float32: {wording.megabytes(costs['bytes_of_weights'])} for weights, gradients, running "
        f"mean and optimizer, and {wording.megabytes(costs['bytes_per_image'])} an image (bfloat16: about half)."
    )


def print_evaluation(evaluation: Mapping[str, Any]) -> None:
    """The tables of an evaluation (the object of `segtrial evaluate --json`) on stdout."""
    tables.show(evaluation, Console())


def print_run(evaluation: Mapping[str, Any], folder: Path) -> None:
    """What a finished training says on stdout: its scores, and where its files are."""
    print_evaluation(evaluation)
    print(f"\nModel   {folder / 'model.safetensors'}\nReport  {folder / 'report.html'} (open it in a browser)")
    print_next(_after_training(evaluation, shlex.quote(str(folder))))


def print_next(commands: Mapping[str, str]) -> None:
    """What may be typed next, each with what it does, on stdout."""
    width = max(map(len, commands))
    print("\nNext")
    for command, does in commands.items():
        print(f"  {command:<{width}}  {does}")


def _after_training(evaluation: Mapping[str, Any], run: str) -> dict[str, str]:
    """Command -> what it does; only what has classes can be explained."""
    explain = {f"segtrial explain {run} --out why": "where it is wrong, how sure it was, what it looked at"}
    return {
        f"segtrial predict {run} IMAGES --out answers": "its answers for other images",
        **(explain if evaluation["per_class"] else {}),
        f"segtrial serve {run}": "a page in the browser to drop images on",
    }


def print_rate_test(test: Mapping[str, Any], folder: Path) -> None:
    """What `segtrial train --find-lr` shows: the smoothed loss over the rate, and what to type next, on stdout."""
    rates, mean = test["rates"], test["smoothed"]
    print("learning rate     loss")
    for row in range(0, len(rates), ROWS_APART):
        bar = "#" * round(BAR * mean[row] / (max(mean) or 1))
        print(f"{rates[row]:13.1e} {mean[row]:8.3f}  {bar}")
    print(f"\n{wording.rate_test(test)}")
    rate = test["suggestion"] or test["tenth_of_diverged"]
    if rate:
        print(f"The same command trains with it, without --find-lr and with: --set optimizer.lr={rate:g}")
    print(f"\nCurve   {folder / 'find_lr.svg'}")


def print_prediction(report: "PredictionReport", out: Path) -> None:
    """How many answers there are, where, and what each file holds, on stdout; what was skipped and why, on stderr."""
    kept = f", {len(report.kept)} kept from before" if report.kept else ""
    print(f"{several(len(report.done), 'image')} answered{kept}, in {out}")
    width = max(map(len, report.legend), default=0)
    for file, what in report.legend.items():
        print(f"  {file:<{width}}  {what}")
    for path, reason in report.skipped:
        print(f"skipped {wording.plain(path)}: {wording.plain(reason)}", file=sys.stderr)


def _spelt(option: Mapping[str, Any]) -> str:
    """ "encoder=resnet34 (or resnet18, plain)": an option as it is chosen, as `--model` takes it."""
    choices = [_word(choice) for choice in option["choices"] if choice != option["chosen"]]
    others = f" (or {listing(choices, 20)})" if choices else ""
    return f"{option['name']}={_word(option['chosen'])}{others}"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | None) else str(value)
