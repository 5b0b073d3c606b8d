"""Pixels and scores of the classes -> which were never shown, never predicted, or never asked for."""

from collections.abc import Iterator, Mapping

from segtrial.errors import listing
from segtrial.fitdoctor.finding import Finding, Json, Record


def findings(run: Record, *, learnt: bool) -> Iterator[Finding]:
    """Classes that training lacks, that a network which has `learnt` never finds, and that val lacks."""
    pixels = dict(zip(run.plan["classes"]["names"], run.plan["class_pixels"], strict=False))
    rows = {row["name"]: row for row in (run.evaluation or {}).get("per_class") or ()}
    absent = [name for name, count in pixels.items() if not count]
    shown = {name: row for name, row in rows.items() if name not in absent}
    missed = {name: row for name, row in shown.items() if row["support"] and not row["recall"]}
    unseen = [name for name, row in shown.items() if not row["support"]]
    if absent:
        yield _absent(run, absent, rows)
    if missed and learnt:
        yield _missed(missed, pixels, "images" if run.plan.get("task") == "classification" else "pixels")
    if unseen:
        message = (
            f"{_are(unseen)} not in val: no score says anything about it. Split otherwise (split.val_groups, "
            "split.val_share), or add images."
        )
        yield Finding("class_not_in_val", "hint", message, {"classes": unseen})


def _absent(run: Record, names: list[str], rows: Mapping[str, Json]) -> Finding:
    images = run.plan["parts"]["train"]
    support = sum(rows[name]["support"] for name in names if name in rows)
    message = (
        f"{_are(names)} not in the training part: 0 pixels in its {images:,} images, {support:,} in val. A network "
        "cannot learn what it is never shown: add images of it, split otherwise (split.val_groups), or leave it out "
        "of the classes."
    )
    return Finding(
        "class_not_in_train", "problem", message, {"classes": names, "images": images, "val_pixels": support}
    )


def _missed(missed: Mapping[str, Json], pixels: Mapping[str, int], unit: str) -> Finding:
    never = all(row["precision"] is None for row in missed.values())
    support = sum(row["support"] for row in missed.values())
    share = sum(pixels[name] for name in missed) / sum(pixels.values())
    more = "" if unit == "images" else "show it more (--set augment.copy_paste=0.5), "
    message = (
        f"{_are(list(missed))} never {'predicted' if never else 'found'}: 0 of {support:,} {unit} of val are right, "
        f"and {100 * share:.2g} % of the training {unit} have it. Weigh it more (--set loss.class_weights=inverse), "
        f"{more}or train longer."
    )
    evidence = {"classes": list(missed), "val_support": support, "train_share": share}
    return Finding("class_never_predicted" if never else "class_never_found", "problem", message, evidence)


def _are(names: list[str]) -> str:
    """ "Class 'pole' is", "Classes 'pole', 'sign' are"."""
    return f"Class{'es' if len(names) > 1 else ''} {listing(map(repr, names))} {'are' if len(names) > 1 else 'is'}"
