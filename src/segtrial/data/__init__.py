"""A source named by the user -> Dataset: toytown, a folder, or a data.yaml."""

from pathlib import Path

from segtrial.data import cityscapes, coco, cvat, labelme, via, voc
from segtrial.data.camvid import is_camvid, open_camvid
from segtrial.data.folder import open_folder
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataNotFound, nearest

DESCRIPTION = "data.yaml"

LAYOUTS = (  # the first that recognises a folder opens it; a folder that none recognises is open_folder's
    (is_camvid, open_camvid),
    (voc.recognises, voc.open_voc),
    (cityscapes.recognises, cityscapes.open_cityscapes),
    (labelme.recognises, labelme.open_labelme),  # this one and those below: only where no picture is a mask
    (coco.recognises, coco.open_coco),
    (via.recognises, via.open_via),
    (cvat.recognises, cvat.open_cvat),
)


def open_dataset(source: str | Path, options: SplitOptions = SplitOptions()) -> Dataset:  # noqa: B008 (frozen)
    """Understand `source`: "toytown" (or "toytown:scenes=24,..."), a folder, or the path of a data.yaml.

    Raises DataNotFound if there is nothing, and DataError (its kinds name the fault) if it cannot be read.
    """
    if str(source).partition(":")[0] == "toytown" and not Path(source).exists():
        from segtrial.data.toytown import open_toytown

        return open_toytown(str(source), options)
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, options)
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        from segtrial.data.description import open_description

        return open_description(path, options)
    if path.exists():
        raise DataNotFound(path, "not a folder and not a data.yaml", "Give the folder that holds images and masks")
    raise _absent(path)


def _open_folder(root: Path, options: SplitOptions) -> Dataset:
    if (root / DESCRIPTION).is_file():
        return open_dataset(root / DESCRIPTION, options)
    found = next((opens for recognises, opens in LAYOUTS if recognises(root)), open_folder)
    return found(root, options)


def _absent(path: Path) -> DataNotFound:
    beside = [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []
    fix = f'{nearest(path.name, beside)}Give a folder, a data.yaml, or "toytown" for the embedded pictures'
    return DataNotFound(path, "there is no such file or folder", fix)
