"""A source named by the user -> Dataset: toytown, a folder, a data.yaml, or an .npz file."""

from pathlib import Path
from typing import Literal

from segtrial.data import cityscapes, coco, cvat, labelme, layers, npz_pairs, via, voc
from segtrial.data.camvid import is_camvid, open_camvid
from segtrial.data.dealing import dealt, within
from segtrial.data.folder import open_folder
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, DataNotFound, nearest

DESCRIPTION = "data.yaml"

Content = Literal["masks", "classes", "photos"]
"""What is learned of a picture: the class of each pixel, the class of the whole, or its colours."""

LAYOUTS = (  # the first that recognises a folder opens it; a folder that none recognises is open_folder's
    (is_camvid, open_camvid),
    (voc.recognises, voc.open_voc),
    (cityscapes.recognises, cityscapes.open_cityscapes),
    (labelme.recognises, labelme.open_labelme),  # this one and those below: only where no picture is a mask
    (coco.recognises, coco.open_coco),
    (via.recognises, via.open_via),
    (cvat.recognises, cvat.open_cvat),
    (layers.recognises, layers.open_layers),
    (npz_pairs.recognises, npz_pairs.open_npz_pairs),
)


def open_dataset(
    source: str | Path,
    options: SplitOptions = SplitOptions(),  # noqa: B008 (frozen)
    content: Content = "masks",
) -> Dataset:
    """Understand `source`: "toytown" (or "toytown:scenes=24,..."), a folder, a data.yaml, or (classes) an .npz file.

    Raises DataNotFound if there is nothing, and DataError (its kinds name the fault) if it cannot be read.
    """
    return within(dealt(_open(source, options, content), options), options)


def _open(source: str | Path, options: SplitOptions, content: Content) -> Dataset:
    if str(source).partition(":")[0] == "toytown" and not Path(source).exists():
        from segtrial.data.toytown import open_toytown

        if content == "classes":
            fix = "Give a folder with a folder for each class, or .npz files with images and labels"
            raise DataError(source, "its pictures belong to no class; only their pixels do", fix)
        return _wanted(open_toytown(str(source), options), content)
    path = Path(source)
    if not path.exists():
        raise _absent(path)
    if content == "classes":
        return _open_classes(path, options)
    described = path / DESCRIPTION if path.is_dir() else path
    if described.is_file() and described.suffix in (".yaml", ".yml"):
        from segtrial.data.description import open_description

        return _wanted(open_description(described, options), content)
    if not path.is_dir():
        raise DataNotFound(path, "not a folder and not a data.yaml", "Give the folder that holds images and masks")
    opens = next((opens for recognises, opens in LAYOUTS if recognises(path)), None)
    if opens is None and content == "photos":
        from segtrial.data.photos import open_photos

        return open_photos(path, options)
    return _wanted((opens or open_folder)(path, options), content)


def _wanted(dataset: Dataset, content: Content) -> Dataset:
    """A data set with masks, or the photos of it."""
    if content == "masks":
        return dataset
    from segtrial.data.photos import photos_of

    return photos_of(dataset)


def _open_classes(path: Path, options: SplitOptions) -> Dataset:
    from segtrial.data.class_arrays import holds_arrays, open_arrays
    from segtrial.data.class_folders import open_class_folders

    if path.is_dir() and not holds_arrays(path):
        return open_class_folders(path, options)
    if path.is_dir() or (path.is_file() and path.suffix == ".npz"):
        return open_arrays(path, options)
    raise DataNotFound(path, "not a folder and not an .npz file", "Give a folder with a folder for each class")


def _absent(path: Path) -> DataNotFound:
    beside = [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []
    fix = f'{nearest(path.name, beside)}Give a folder, a data.yaml, or "toytown" for the embedded pictures'
    return DataNotFound(path, "there is no such file or folder", fix)
