"""Any folder of images and masks -> Dataset: pairs, one mask encoding, classes, groups and parts."""

from collections import defaultdict
from pathlib import Path

from segtrial.data.encoding import survey, understand
from segtrial.data.merging import reduce_classes
from segtrial.data.pairing import Pairs, find_pairs
from segtrial.data.reading import Fingerprint, Reader, channels_of, items_of
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.data.tables import find_table, with_swaps


def open_folder(root: Path, options: SplitOptions) -> Dataset:
    """Understand a folder (layouts: `pairing.LAYOUTS`). Decodes every mask once to learn their encoding.

    Raises DataNotFound, PairingError, ImageError, MaskError or SplitError, each naming files and the fix.
    """
    pairs = find_pairs(root)
    items = items_of(pairs.pairs)
    channels, mixed = channels_of(root, items)
    table = find_table(root)
    understood = reduce_classes(understand(survey(root, [pair.target for pair in pairs.pairs], table), table))
    classes, swapped = with_swaps(understood.classes)
    items, grouped = with_groups(items, str(root))
    parts, made = split(by_part(pairs, items), options, str(root))
    reader = Reader(understood.encoding, channels)
    notes = (*pairs.notes, *understood.notes, *swapped, *mixed, *grouped, *made)
    return Dataset(root, "folder", classes, parts, reader, Fingerprint.of(reader), notes)


def by_part(pairs: Pairs, items: list[Item]) -> dict[str, list[Item]]:
    """Items under the part that their pair's folders name ("" for none)."""
    parts: dict[str, list[Item]] = defaultdict(list)
    for one, item in zip(pairs.pairs, items, strict=True):
        parts[one.part].append(item)
    return parts
