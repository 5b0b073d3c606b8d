"""Many classes -> fewer: merges (32 -> 11), drops, and names such as Void that count nowhere."""

from collections.abc import Iterable, Mapping

from segtrial.classes import Classes
from segtrial.data.encoding import Understood
from segtrial.data.tables import VOID_NAMES
from segtrial.errors import DataError, UnknownName, listing
from segtrial.shapes import IGNORE


def reduce_classes(
    understood: Understood, merges: Mapping[str, str] | None = None, drops: Iterable[str] = ()
) -> Understood:
    """The same masks read into fewer classes.

    `merges` maps a class to the one that takes its pixels (a known class or a new name). Pixels of `drops`,
    and of classes called void, ignore or unlabelled, become IGNORE. Classes stay in the order of their first
    member. Raises UnknownName for a class that is not there, DataError if no class is left.
    """
    merges, names = merges or {}, understood.classes.names
    for name in (*merges, *drops):
        if name not in names:
            raise UnknownName("class", name, names)
    chained = sorted(set(merges) & set(merges.values()))
    if chained:
        raise DataError(
            "merges", f"{listing(chained)} take and give pixels", "Merge each class straight into its last name"
        )
    void = [name for name in names if name.lower() in VOID_NAMES and name not in merges]
    merged = [merges.get(name, name) for name in names]
    gone = {*drops, *void}
    final = [None if gone & {name, into} else into for name, into in zip(names, merged, strict=True)]
    left = list(dict.fromkeys(name for name in final if name is not None))
    if not left:
        raise DataError("classes", "every class is dropped", "Keep at least one")
    if left == list(names):
        return understood
    order = tuple(IGNORE if name is None else left.index(name) for name in final)
    colors = tuple(understood.classes.colors[_member(name, names, final)] for name in left)
    notes = []
    if void:
        notes.append(f"pixels of {listing(void)} count nowhere (IGNORE), because of the name")
    if len(left) < len(names) - len(void):
        notes.append(f"{len(names)} classes became {len(left)} by merges and drops")
    encoding = understood.encoding.remapped(order, tuple(left))
    return Understood(encoding, Classes(tuple(left), colors), (*understood.notes, *notes))


def _member(name: str, names: tuple[str, ...], final: list[str | None]) -> int:
    """The class whose colour a merged class takes: its namesake, else its first member."""
    return names.index(name) if name in names else final.index(name)
