"""Scores on training crops and on val -> whether what is learnt holds, whether there was more, whether val flatters."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from segtrial.errors import listing
from segtrial.fitdoctor.evidence import Point, points, unlearnable, with_interval
from segtrial.fitdoctor.finding import Finding, Json, Record

LITTLE, MUCH = 0.01, 0.1
"""Of a score. By LITTLE two seeds of one recipe differ, too; MUCH is seen in the answers without counting."""
FEWEST_EVALUATIONS = 3
"""Two points are a line whatever happened; a turn needs three."""
FEW_IMAGES = 50
"""Networks learn so few by heart; who published with fewer leant on heavy deformations (U-Net: 30)."""
LOW_SCORE = 0.5
"""On training crops: a network that has not got beyond it has not learnt its task."""


def findings(run: Record) -> Iterator[Finding]:
    """What the scores of training and val say together."""
    seen = points(run)
    if not seen:
        return
    few, last, turn, lacking = run.plan["parts"]["train"] < FEW_IMAGES, seen[-1], _turned(seen), unlearnable(run)
    if few and _is_large(last, lacking):
        yield _tiny(run, last)
    if turn:
        yield turn
    if not few and _is_large(seen[_best(seen)] if turn else last, lacking):
        yield _large_gap(run, last)
    yield from _at_the_end(run, seen)


def _is_large(point: Point, lacking: float) -> bool:
    """Whether the gap is, beyond its error and what classes explain that training lacks. False where it is unknown."""
    without = point.val / (1 - lacking) if lacking < 1 else 1.0  # the mean over the other classes
    return point.train - without - 2 * point.error >= MUCH


def _best(seen: list[Point]) -> int:
    return max(range(len(seen)), key=lambda index: seen[index].val)


def _tiny(run: Record, last: Point) -> Finding:
    images = run.plan["parts"]["train"]
    message = (
        f"The training part is tiny: {images} image{'s' if images > 1 else ''}. Crops of them score "
        f"{last.train:.3f}, val {last.val:.3f} ({_said(last)}). Label more; until then start from weights that know "
        "images (--set encoder.weights=imagenet, or --from MODEL) and vary more: --set augment.rotate=15 --set "
        "augment.copy_paste=0.5."
    )
    return Finding("train_part_tiny", "problem", message, {"images": images, **_figures(last)})


def _large_gap(run: Record, last: Point) -> Finding:
    message = (
        f"Val is harder than training: crops of its {run.plan['parts']['train']:,} images score {last.train:.3f}, "
        f"val {last.val:.3f} ({_said(last)}). If val shows other places or cameras, train on more of them; if not, "
        "too much is learnt by heart: vary more (augment.*), raise optimizer.weight_decay."
    )
    return Finding("large_gap", "hint", message, _figures(last))


def _turned(seen: list[Point]) -> Finding | None:
    """Val has its best evaluation behind it while the training score has risen, and the gap is no noise."""
    start, after = seen[_best(seen)], seen[_best(seen) + 1 :]
    if len(seen) < FEWEST_EVALUATIONS or not after:
        return None
    gap, error = _mean_gap(after)
    end = after[-1]
    rose = end.train - start.train - 2 * math.hypot(start.error, end.error)
    if not (end.gap - 2 * end.error >= MUCH / 2 and rose >= LITTLE):
        return None
    over = f"the last {len(after)} evaluations" if len(after) > 1 else "the last evaluation"
    lost = start.val - end.val
    message = (
        f"{'Overfits' if lost >= LITTLE else 'Begins to overfit'} from epoch {start.epoch:.3g} on (gap {gap:.2f} ± "
        f"{error:.2f} over {over}): since then the score of training crops rose from {start.train:.3f} to "
        f"{end.train:.3f}, and val went from {start.val:.3f} to {end.val:.3f}. Vary more (augment.*), raise "
        "optimizer.weight_decay or regularise.dropout, train for fewer steps, or keep the best: --set keep=best "
        "--set evaluations=20."
    )
    evidence = {"epoch": start.epoch, "gap": gap, "error": error, "evaluations": len(after)}
    evidence |= {"train": [start.train, end.train], "val": [start.val, end.val]}
    return Finding("overfits", "problem" if lost >= LITTLE else "hint", message, evidence)


def _mean_gap(after: list[Point]) -> tuple[float, float]:
    """The mean gap of some evaluations, and two standard errors of it."""
    gaps = np.array([point.gap for point in after])
    between = float(gaps.var(ddof=1)) if len(gaps) > 1 else 0.0
    within = float(np.mean([point.error**2 for point in after]))
    return float(gaps.mean()), 2 * math.sqrt((between + within) / len(gaps))


def _at_the_end(run: Record, seen: list[Point]) -> Iterator[Finding]:
    """Whether val still rose when the budget ended, or had long stopped at a low score."""
    steps, last = run.plan["steps"], seen[-1]
    if len(seen) < FEWEST_EVALUATIONS or run.evaluation is None or last.step != steps or seen[0].step > steps / 2:
        return
    at, values = [point.step for point in seen], [point.val for point in seen]
    half, late = (float(np.interp(share * steps, at, values)) for share in (0.5, 0.75))
    doubling, quarter = last.val - half, last.val - late
    evidence = {"at_half": half, "at_three_quarters": late, "at_end": last.val, "last_doubling": doubling}
    rises = doubling >= MUCH / 2 or (doubling >= 2 * LITTLE and quarter >= LITTLE)  # rates that fall flatten the end
    if last.val == max(values) and rises:
        message = (
            f"Still improving when the budget ended: val rose from {half:.3f} at half of the steps over {late:.3f} "
            f"at three quarters to {last.val:.3f}. Doubling the steps to {steps:,} brought {doubling:.3f}; doubling "
            f"them again brings about as much at most. Train with {_double_budget(run)}."
        )
        yield Finding("still_improving", "problem" if doubling >= MUCH else "hint", message, evidence)
    elif abs(doubling) < LITTLE and last.train < LOW_SCORE and abs(last.gap) < MUCH / 2:
        message = (
            f"Learns no further: crops of the training images score {last.train:.3f}, val {last.val:.3f}, which is "
            f"{doubling:+.3f} since half of the steps. More steps will not help: look at masks drawn over their "
            "images, weigh rare classes more (--set loss.class_weights=inverse), then try a larger network."
        )
        yield Finding("stuck", "hint", message, {**evidence, "train": last.train})


def _double_budget(run: Record) -> str:
    recipe = run.plan["recipe"]
    unit = next(name for name in ("minutes", "epochs", "steps") if recipe.get(name) is not None)
    return f"--{unit} {2 * recipe[unit]:g}"


def flattering(run: Record, untouched: Mapping[str, Json]) -> Iterator[Finding]:
    """Val against parts that decided nothing, where the interval of the difference lies above 0.

    The interval is put together from those of the two scores, which are of different images:
    d - sqrt((v - v_low)^2 + (t_high - t)^2) to d + sqrt((v_high - v)^2 + (t - t_low)^2), for d = v - t.

    Zou and Donner. Construction of confidence limits about effect measures. Statistics in Medicine 27, 2008.
    """
    for part, result in untouched.items():
        ours, theirs = with_interval(run.evaluation), with_interval(result)
        if ours is None or theirs is None:
            continue
        (val, val_low, val_high), (score, low, high) = ours, theirs
        difference = val - score
        interval = [
            difference - math.hypot(val - val_low, high - score),
            difference + math.hypot(val_high - val, score - low),
        ]
        if interval[0] > 0:
            message = (
                f"Val flatters: it scores {val:.3f}, {part} {score:.3f} ({result['n_images']:,} images), which is "
                f"{difference:.3f} less (95 % interval {interval[0]:.3f} to {interval[1]:.3f}){chosen_by_val(run)}. "
                f"Tell the score on {part}, and tune by it never."
            )
            evidence = {"part": part, "val": val, "score": score, "difference": difference, "interval": interval}
            yield Finding("val_flatters", "problem" if difference >= MUCH else "hint", message, evidence)


def chosen_by_val(run: Record) -> str:
    """ "; val decided (keep=best), in 9 evaluations", or nothing where it decided nothing."""
    recipe = run.plan["recipe"]
    uses = {
        "keep=best": recipe["keep"] == "best",
        "patience": recipe["patience"] is not None,
        "schedule.name=plateau": recipe["schedule"]["name"] == "plateau",
    }
    named = [name for name, used in uses.items() if used]
    return f"; val decided ({listing(named)}), in {len(run.val)} evaluations" if named else ""


def _said(point: Point) -> str:
    return f"gap {point.gap:.2f} ± {2 * point.error:.2f}"


def _figures(point: Point) -> dict[str, float]:
    return {"train": point.train, "val": point.val, "gap": point.gap, "error": 2 * point.error}
