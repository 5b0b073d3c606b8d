"""The folder of `segtrial explain` -> a page for each image, and index.html: whole in themselves, without a script.

The pages ask no address for anything; the index links to the others by their places in the folder.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from segtrial.files import write_atomic
from segtrial.reports import page, wording
from segtrial.reports.explain_pictures import answer_panels, band_panels, reliability_diagram, target_panels
from segtrial.reports.explain_records import Explained, Json, read_image, read_index

UNIT = 2**-24
"""What confidences are counted in: that of `segtrial.calibration`, which loads torch."""

CARD = ("image", "truth", "answer", "wrong pixels", "confidence")
"""Pictures of an image on the index, as far as there are any."""


def write(folder: Path) -> Json:
    """Write the pages into `folder`; what its index says, with the places of the pages. Raises RunError."""
    index, cards = read_index(folder), []
    for name in index["images"]:
        one = read_image(folder, name)
        write_atomic(folder / f"{name}.html", render(one, index).encode(errors="replace"))
        cards.append(_card(one))
    path = folder / "index.html"
    write_atomic(path, _index(folder, index, cards).encode(errors="replace"))
    pages = [str(folder / f"{name}.html") for name in index["images"]]
    return {**index, "out": str(folder), "index": str(path), "pages": pages}


def render(one: Explained, index: Json) -> str:
    """The page of one image. The same records give the same characters."""
    told = one.told
    return page.render(
        "explain.html.j2",
        one=told,
        name=wording.plain(one.name),
        home="../" * one.name.count("/") + "index.html",
        headline=_headline(told),
        facts=_facts(told, index),
        classes=_legend(one),
        answer=answer_panels(one),
        targets=[_target(one, number) for number in range(len(told["targets"]))],
        bands=[_band(band, told) for band in told["bands"]],
        band_panels=band_panels(one),
        diagram=_diagram(told["calibration"]),
        error=(told["calibration"] or {}).get("ece"),
        temperature=index["temperature"],
        small=max(told["explained_size"]) < 200,
    )


def _index(folder: Path, index: Json, cards: list[dict[str, Any]]) -> str:
    model = index["model"]
    options = ",".join(f"{key}={value}".lower() for key, value in model["options"].items() if value is not None)
    calibration = index["calibration"]
    return page.render(
        "explain_index.html.j2",
        title=wording.plain(folder.resolve().name),
        network=f"{model['architecture']}{f':{options}' if options else ''}",
        index=index,
        cards=cards,
        diagram=_diagram(calibration),
        skipped=[(wording.plain(one["path"]), wording.plain(one["reason"])) for one in index["skipped"]],
        images=(calibration or {}).get("n_images"),
    )


def _headline(told: Json) -> tuple[str, str] | None:
    """The number in the largest type, and what it is."""
    if told["task"] == "classification":
        best = told["answer"][0]
        return wording.percent(best["share"]), f"sure that it is {best['class']}"
    if told["right"] is not None:
        return wording.percent(told["right"]), "pixels right"
    return (wording.percent(told["confidence"]), "sure on average") if told["confidence"] is not None else None


def _facts(told: Json, index: Json) -> list[tuple[str, str]]:
    """What was done, and to what."""
    (height, width), (rows, columns) = told["size"], told["explained_size"]
    shrunk = f", explained at {rows} × {columns}" if told["size"] != told["explained_size"] else ""
    facts = [
        ("network", index["model"]["architecture"]),
        ("image", f"{height} × {width}{shrunk}"),
        ("temperature", f"{index['temperature']:.3g}"),
        ("layer of Grad-CAM", told["layer"]),
        ("hiding patch", f"{told['patch']['side']} px, moved by {told['patch']['step']}"),
    ]
    if told["confidence"] is not None and told["right"] is not None:
        facts.insert(2, ("mean confidence", wording.percent(told["confidence"])))
    if told["truth"] is not None:
        facts.insert(2, ("truth", told["truth"]))
    return facts


def _legend(one: Explained) -> list[dict[str, Any]]:
    """The classes that are in answer or truth, in class order: name, colour, share of the answer."""
    shares = {row["class"]: row["share"] for row in one.told["answer"]}
    truth = one.arrays.get("truth")
    there = set() if truth is None else set(np.unique(truth).tolist())
    return [
        {"name": wording.plain(name), "color": color, "share": shares.get(name, 0)}
        for index, (name, color) in enumerate(zip(one.classes.names, one.classes.colors, strict=True))
        if name in shares or index in there
    ]


def _target(one: Explained, number: int) -> dict[str, Any]:
    told = one.told["targets"][number]
    color = one.classes.colors[one.classes.names.index(told["class"])]
    return {**told, "color": color, "panels": target_panels(one, number), "strongest": _strongest(one.arrays, number)}


def _strongest(arrays: Any, number: int) -> bool:
    """Whether hiding anything changes the score at all."""
    return bool(np.abs(arrays[f"drops_{number}"]).max() > 0)


def _band(band: Json, told: Json) -> dict[str, Any]:
    lost = None if band["right"] is None or told["right"] is None else told["right"] - band["right"]
    return {**band, "lost": lost}


def _diagram(calibration: Json | None) -> str | None:
    if calibration is None or calibration["ece"] is None:
        return None
    return reliability_diagram("reliability", np.array(calibration["counts"]), UNIT)


def _card(one: Explained) -> dict[str, Any]:
    head = _headline(one.told)
    return {
        "name": wording.plain(one.name),
        "page": quote(os.fsencode(f"{one.name}.html")),
        "words": " ".join(head) if head else "",
        "panels": [panel for panel in answer_panels(one) if panel.title in CARD],
        "small": max(one.told["explained_size"]) < 200,
    }
