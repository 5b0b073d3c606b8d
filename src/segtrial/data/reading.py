"""Pairs of files -> items and the Reader that turns an item into a Sample, checked against each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtrial.data._parallel import all_of, collected
from segtrial.data.glance import GLANCES
from segtrial.data.masks import Encoding, read_mask
from segtrial.data.memory import is_remembered, seen, stamp
from segtrial.data.pairing import Pair
from segtrial.data.pictures import read_header, read_image
from segtrial.data.sample import Item, Sample
from segtrial.files import sha256


@dataclass(frozen=True)
class Reader:
    """Decodes one item. `channels` is 1 or 3 for the whole data set."""

    encoding: Encoding
    channels: int

    def __call__(self, item: Item) -> Sample:
        """The checked sample. Raises ImageError or MaskError, naming the file."""
        assert item.image is not None
        assert item.target is not None
        image = read_image(item.image, self.channels)
        target = read_mask(item.target, self.encoding, read_header(item.image))
        return Sample(image, target, item.key, item.group)


@dataclass(frozen=True)
class Fingerprint:
    """Changes when an item's files do, or when they are read by another rule (`rule`)."""

    rule: str

    @staticmethod
    def of(reader: Reader) -> "Fingerprint":
        """The fingerprint function of what this reader reads."""
        return Fingerprint(sha256(f"{reader.channels} {reader.encoding.describe()}".encode())[:16])

    def __call__(self, item: Item) -> str:
        """Sizes in bytes and times of change in ns, not the contents. Raises DataNotFound if a file is gone."""
        return " ".join([self.rule, *(stamp(path) for path in (item.image, item.target) if path is not None)])


def items_of(pairs: Sequence[Pair]) -> list[Item]:
    """One item a pair, each a group of its own."""
    return [Item(pair.key, pair.key, pair.image, pair.target) for pair in pairs]


def channels_of(root: Path, items: Sequence[Item]) -> tuple[int, tuple[str, ...]]:
    """1 if every image is grey, else 3, with a note if there are both. Raises ImageError for unreadable files."""
    paths = [item.image for item in items if item.image is not None]
    if is_remembered():
        headers = [one.header for one in collected(root, seen(GLANCES, paths), len(paths))]
    else:
        headers = all_of(root, read_header, paths)
    grey = sum(header.channels == 1 for header in headers)
    if 0 < grey < len(headers):
        return 3, (f"{grey} of {len(headers)} images are grey and the others colour: all are read as RGB",)
    return (1 if grey else 3), ()
