"""A folder of pictures and masks -> a copy in which every picture has one size: two cores train on it in minutes."""

import shutil
from pathlib import Path

from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
MASKS = ("trainannot", "valannot", "labels", "masks")
"""Folders of masks: their pixels are chosen, not averaged."""


def make_small(source: Path, target: Path, size: tuple[int, int]) -> Path:
    """A copy whose pictures are `size` (w, h), all other files as they are; made once.

    Pictures by the mean of areas, masks by their nearest pixel. Where there is no such folder, its place.
    """
    if target.exists() or not source.is_dir():
        return target if target.exists() else source
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        out = unfinished / path.relative_to(source)
        out.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in PICTURES:
            how = Image.Resampling.NEAREST if path.parent.name in MASKS else Image.Resampling.BOX
            Image.open(path).resize(size, how).save(out.with_suffix(".png"))
        else:
            shutil.copyfile(path, out)
    unfinished.rename(target)
    return target
