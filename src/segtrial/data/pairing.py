"""A folder of pictures -> pairs (image, mask), or a PairingError that names what does not pair and the fix.

A mask belongs to the image with its stem, its part and its sub-folder; stems may differ by a suffix
(`_mask`), which is found by looking which one fits every image.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtrial.data._walk import INSTANCES, File, Found, walk
from segtrial.errors import DataNotFound, PairingError, listing, several

SUFFIX_WORDS = frozenset(
    re.findall(
        r"\w+", "l mask masks gt groundtruth label labels annotation annotations annot seg segmentation segmented"
    )
)
MOST_LOOKED_AT = 20
"""JSON files that are looked into to say what they are."""

LAYOUTS = (
    "Understood are: images/ and masks/ (or labels/, annotations/, gt/), each perhaps with train/ and val/ in or above;"
    " train/ and trainannot/; Train_RGB/ and Train_Labels/; JPEGImages/ and SegmentationClass/; one folder with x.jpg"
    " and x_mask.png; or any folder with a data.yaml"
)


@dataclass(frozen=True)
class Pair:
    """One image and its mask. `part` is "" where the layout has no parts."""

    key: str
    part: str
    image: Path
    target: Path


@dataclass(frozen=True)
class Pairs:
    """Pairs sorted by key, and notes on how they were made."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def find_pairs(root: Path, suffix: str | None = None) -> Pairs:
    """The pairs below `root`, in whatever layout. `suffix`: what mask stems have more than image stems."""
    found = walk(root)
    if not found.pictures:
        others = f" ({listing(f'{n} {kind}' for kind, n in found.others.items())})" if found.others else ""
        raise DataNotFound(root, f"no picture below it{others}", LAYOUTS)
    masks = [file for file in found.pictures if file.role == "mask"]
    images = [file for file in found.pictures if file.role == "image"]
    unsaid = [file for file in found.pictures if file.role == "" and INSTANCES not in file.folder.split("/")]
    notes = [f"{several(found.junk, 'hidden or junk file')} (Thumbs.db and the like) ignored"] if found.junk else []
    if masks and (images or unsaid):
        pairs, how = pair(root, images or unsaid, masks, suffix)
        left_out = len(found.pictures) - len(masks) - len(images or unsaid)
    else:
        pairs, how, left_out = _pair_flat(root, found, suffix)
    if left_out:
        many = several(left_out, "picture is neither image nor mask", "pictures are neither images nor masks")
        notes.append(f"{many} by their place or name: left out")
    return Pairs(pairs, (how, *notes))


def pair(root: Path, images: Sequence[File], masks: Sequence[File], suffix: str | None) -> tuple[tuple[Pair, ...], str]:
    """Pair two lists of files; the second value says how. Raises PairingError."""
    for depth in (2, 1, 0):  # by part and sub-folder, by part, by name only: the first that fits all
        places = _places(images, depth)
        if depth < 2 and len(places) < len(images):
            break
        for trim in ("", _common_ending(images)):
            fitting = [suffix] if suffix is not None else _suffixes(places, masks, depth, trim)
            for one in fitting:
                paired = _match(images, masks, depth, trim, one)
                if paired is not None:
                    return paired, _how(images, masks, trim, one)
    raise _unpaired(root, images, masks, suffix)


def _pair_flat(root: Path, found: Found, suffix: str | None) -> tuple[tuple[Pair, ...], str, int]:
    """Pair files that lie together; the last value counts those that are neither."""
    files = found.pictures
    stems = {(file.folder, file.stem) for file in files}
    endings = Counter(
        ending
        for file in files
        for ending in _endings(file.stem)
        if (file.folder, file.stem.removesuffix(ending)) in stems
    )
    chosen = suffix or _only_ending(root, files, endings)
    if chosen is None:
        raise _no_masks(root, found)
    masks = [file for file in files if file.stem.endswith(chosen)]
    other = [ending for ending in endings if suffix is not None and ending != chosen]
    images = [file for file in files if not file.stem.endswith((chosen, *other))]
    pairs, how = pair(root, images, masks, chosen)
    return pairs, how, len(files) - len(masks) - len(images)


def _only_ending(root: Path, files: Sequence[File], endings: Counter[str]) -> str | None:
    """The one ending that makes a mask's stem of every image's stem. Raises PairingError if there are several."""
    known = [ending for ending in endings if _says_mask(ending)]
    candidates = known or [ending for ending, _ in endings.most_common()]
    images = [file for file in files if not file.stem.endswith(tuple(candidates))] if candidates else []
    fitting = [ending for ending in candidates if 2 * endings[ending] > len(images)]
    if len(fitting) > 1:
        raise _several(root, fitting, len(images), files)
    if fitting:
        return fitting[0]
    said = {ending for file in files for ending in _endings(file.stem)[-1:] if _says_mask(ending)}
    return said.pop() if len(said) == 1 else None  # x_sat beside x_mask: no image's name begins a mask's


def _says_mask(ending: str) -> bool:
    return ending.lstrip("_-. ").lower() in SUFFIX_WORDS


def _several(root: Path, suffixes: Sequence[str], images: int, files: Sequence[File]) -> PairingError:
    """The error for several masks an image; its `files` are those that the first suffix leaves out."""
    many = several(images, "image has", "images have")
    found = f"{many} several masks each, with the suffixes {listing(sorted(suffixes))}"
    first, *others = sorted(suffixes)
    error = PairingError(root, found, f'Choose one in {root / "data.yaml"}: "mask_suffix: {first}"')
    error.files = tuple(str(file.path.relative_to(root)) for file in files if file.stem.endswith(tuple(others)))
    return error


def _no_masks(root: Path, found: Found) -> PairingError:
    pictures = several(len(found.pictures), "image")
    annotations = [path for path in found.json[:MOST_LOOKED_AT] if b'"segmentation"' in _start(path)]
    if annotations:
        what = f"{pictures} and no masks; {annotations[0].name} holds polygons (annotation JSON)"
        fix = "Read are COCO, Labelme, VIA and CVAT, without a data.yaml: export it so, or draw masks as PNG"
        return PairingError(annotations[0], what, fix)
    if found.arrays:
        what = f"{pictures} and no masks; {several(len(found.arrays), 'file')} of arrays not looked into"
        fix = "Save masks as PNG of class numbers (the argmax of probabilities), or each pair as .npz without pictures"
        return PairingError(found.arrays[0], what, fix)
    return PairingError(root, f"{several(len(found.pictures), 'picture')}, and none looks like a mask", LAYOUTS)


def _start(path: Path) -> bytes:
    """The first two million bytes of a file, none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(2_000_000)
    except OSError:
        return b""


def _endings(stem: str) -> list[str]:
    """Every ending of a stem that begins with a separator: a_b_mask -> _b_mask, _mask."""
    return [stem[match.start() :] for match in re.finditer(r"[_\-. ]", stem) if match.start() > 0]


def _common_ending(images: Sequence[File]) -> str:
    """The longest ending that all the stems share, as in x_sat, y_sat; "" if none."""
    shared = set(_endings(images[0].stem))
    for file in images:
        shared = {ending for ending in shared if file.stem.endswith(ending)}
    return max(shared, key=len, default="")


def _place(file: File, depth: int) -> tuple[str, ...]:
    return ((), (file.part,), (file.part, *file.rest))[depth]


def _places(files: Sequence[File], depth: int, trim: str = "") -> dict[tuple[str, ...], File]:
    return {(*_place(file, depth), file.stem.removesuffix(trim)): file for file in files}


def _suffixes(places: dict[tuple[str, ...], File], masks: Sequence[File], depth: int, trim: str) -> list[str]:
    """Suffixes, the commonest first, that turn an image's stem into a mask's; "" before all."""
    cores = {(*place[:-1], place[-1].removesuffix(trim)) for place in places}
    counts: Counter[str] = Counter()
    for mask in masks:
        for ending in ("", *_endings(mask.stem)):
            core = mask.stem.removesuffix(ending) if ending else mask.stem
            if (*_place(mask, depth), core) in cores:
                counts[ending] += 1
    return [""] * ("" in counts) + [ending for ending, _ in counts.most_common() if ending]


def _match(
    images: Sequence[File], masks: Sequence[File], depth: int, trim: str, suffix: str
) -> tuple[Pair, ...] | None:
    """The pairs if every image has exactly one mask and every mask of this suffix one image, else None."""
    targets = defaultdict(list)
    for mask in masks:
        if mask.stem.endswith(suffix):
            targets[(*_place(mask, depth), mask.stem[: len(mask.stem) - len(suffix)])].append(mask)
    places = _places(images, depth, trim)
    if len(places) < len(images) or places.keys() != targets.keys() or any(len(t) > 1 for t in targets.values()):
        return None
    if sum(len(files) for files in targets.values()) < len(masks):
        return None  # masks of another suffix are left: several annotators
    pairs = (Pair(file.key, file.part, file.path, targets[place][0].path) for place, file in places.items())
    return tuple(sorted(pairs, key=lambda one: one.key))


def _how(images: Sequence[File], masks: Sequence[File], trim: str, suffix: str) -> str:
    where = f"images in {_folders(images)}, masks in {_folders(masks)}"
    names = f", image suffix {trim}" * bool(trim) + f", mask suffix {suffix}" * bool(suffix)
    return f"{several(len(images), 'pair')}: {where}{names}"


def _folders(files: Sequence[File]) -> str:
    return listing(sorted({f"{file.folder}/" if file.folder else "./" for file in files}), most=4)


def _unpaired(root: Path, images: Sequence[File], masks: Sequence[File], suffix: str | None) -> PairingError:
    """Say why two lists do not pair: stems that occur twice, several suffixes, or partners missing."""
    for kind, files in (("images", images), ("masks", masks)):
        counts = Counter((*_place(file, 2), file.stem) for file in files)
        twice = [str(file.path.relative_to(root)) for file in files if counts[(*_place(file, 2), file.stem)] > 1]
        if twice:
            found = f"{kind} that share one name: {listing(twice)}"
            error = PairingError(root, found, "Keep one, or name the folder in data.yaml (images:, masks:)")
            error.files = tuple(twice)
            return error
    places = _places(images, 2)
    ranked = [suffix] if suffix is not None else _suffixes(places, masks, 2, "") or [""]
    fitting = [one for one in ranked if _covers(places, masks, one)]
    if len(fitting) > 1:
        return _several(root, fitting, len(images), masks)
    return _partners(root, places, masks, ranked[0])


def _covers(places: dict[tuple[str, ...], File], masks: Sequence[File], suffix: str) -> bool:
    names = {(*_place(mask, 2), mask.stem) for mask in masks}
    return all((*place[:-1], place[-1] + suffix) in names for place in places)


def _partners(root: Path, places: dict[tuple[str, ...], File], masks: Sequence[File], suffix: str) -> PairingError:
    names = {(*_place(mask, 2), mask.stem) for mask in masks}
    alone = [file.path for place, file in places.items() if (*place[:-1], place[-1] + suffix) not in names]
    wanted = {(*place[:-1], place[-1] + suffix) for place in places}
    orphans = [mask.path for mask in masks if (*_place(mask, 2), mask.stem) not in wanted]
    found = "; ".join(
        f"{several(len(paths), *what)}: {listing(path.relative_to(root) for path in paths)}"
        for what, paths in (
            (("image without a mask", "images without a mask"), alone),
            (("mask without an image", "masks without an image"), orphans),
        )
        if paths
    )
    rule = f"a mask has its image's name plus {suffix!r}" if suffix else "a mask has its image's name"
    fix = f"Add or remove the partners ({rule}; another rule is declared in data.yaml: mask_suffix)"
    error = PairingError(root, found, fix)
    error.files = tuple(str(path.relative_to(root)) for path in (*alone, *orphans))
    return error
