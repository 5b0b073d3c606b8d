"""Words of `--save` -> what is written for a picture: how the names of its files end."""

from collections.abc import Sequence

from segtrial.errors import RecipeError, nearest
from segtrial.prediction.tables import AREAS, COCO, TABLE
from segtrial.prediction.writing import POLYGONS, PROBABILITIES
from segtrial.tasks import Task

OVERLAY, CONFIDENCE = "_overlay", "_confidence"
"""What follows the stem in the names of the outputs that may be left out."""

WORDS = {OVERLAY: "overlay", CONFIDENCE: "confidence"}
EACH = "x_N-CLASS.png"
"""The masks of a task in which classes exclude nothing, in a legend."""

USUAL, OF_MASKS = ("labels", "overlay", "confidence"), ("probabilities", "polygons", "areas")


def saved_words(task: Task) -> tuple[str, ...]:
    """What `save` may name: labels (of several masks, all), overlay, confidence, probabilities, polygons, areas."""
    drawn = dict.fromkeys(WORDS.get(part, "labels") for part in reversed(task.parts))
    return (*drawn, *(OF_MASKS if task.content == "masks" else ()))


def wanted_words(task: Task, save: Sequence[str] | None, overlay: bool, confidence: bool) -> frozenset[str]:
    there = saved_words(task)
    for word in save or ():
        if word not in there:
            fix = f"Choose among {', '.join(there)}" if there else "Leave it out: the answers are a table"
            raise RecipeError("--save", f"{word!r} is nothing that {task.name} writes", f"{nearest(word, there)}{fix}")
    left_out = {*["overlay"] * (not overlay), *["confidence"] * (not confidence)}
    return frozenset(save if save is not None else set(USUAL) & set(there)) - left_out


def tables_of(task: Task, words: frozenset[str]) -> tuple[str, ...]:
    """The names of the tables of all images."""
    wanted = {"areas": AREAS, "polygons": COCO}
    return (*(name for word, name in wanted.items() if word in words), *[TABLE] * (task.content == "classes"))


def endings_of(task: Task, words: frozenset[str]) -> tuple[str, ...]:
    """How the names of an image's files end, the answer's first."""
    drawn = [f"{part}.png" for part in reversed(task.parts) if WORDS.get(part, "labels") in words]
    others = {"probabilities": PROBABILITIES, "polygons": POLYGONS}
    return (*drawn, *(ending for word, ending in others.items() if word in words))


def legend(task: Task, words: frozenset[str]) -> dict[str, str]:
    """What is written for a picture called x, for people: the name of a file -> what it holds."""
    if task.content == "classes":
        return {TABLE: "the class of each image, and its probability"}
    whole = "its colours" if task.content == "photos" else "the class of each pixel, in the colours of the classes"
    drawn = {
        "labels": ("x.png", whole),
        "overlay": ("x_overlay.png", "the answer drawn over the image"),
        "confidence": ("x_confidence.png", "how sure the model is, dark where it is not"),
        "probabilities": ("x_probabilities.npz", "the probability of each class at each pixel"),
        "polygons": (f"x.geojson, {COCO}", "the outline of each area"),
        "areas": (AREAS, "how many pixels each class has"),
    }
    told = dict(said for word, said in drawn.items() if word in words)
    if "labels" in words and set(task.parts) - {"", *WORDS}:
        told[EACH] = "where the class is that the name says, one for each"
    return told
