"""The scores of a colorizer and of two answers that need no network -> whether it has learnt anything about colours."""

from collections.abc import Iterator

from segtrial.fitdoctor.finding import Finding, Record

ANSWERS = {"grey": "no colour at all", "mean_color": "the mean colour of the training photos everywhere"}
FIX = "Train longer, look at the learning rate, or ask for livelier colours with another loss (task=colorization_bins)"


def findings(run: Record) -> Iterator[Finding]:
    """A problem if a and b are no nearer to the truth than the best answer without a network.

    ab-RMSE decides, since it does not see the lightness: one task is given that, another has to learn it.
    """
    told = run.evaluation or {}
    without = {name: scores["ab_rmse"] for name, scores in told.get("baselines", {}).items() if scores.get("ab_rmse")}
    own = told.get("scores", {}).get("ab_rmse")
    if not without or own is None:
        return
    best = min(without, key=lambda name: without[name])
    if own < without[best]:
        return
    message = (
        f"Colours are no better than without a network: ab-RMSE {own:.2f}, and {ANSWERS[best]} has "
        f"{without[best]:.2f}. {FIX}."
    )
    yield Finding("no_colors_learnt", "problem", message, {"ab_rmse": own, **without})
