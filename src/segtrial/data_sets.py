"""A public set's name -> its folder, ready to train on: fetched, checked, unpacked and described.

Where a checksum is not public, the first download is taken as it is and its SHA-256 noted in the cache folder; every
later one on this account must be the same. Addresses, sizes and checksums are each from the place that its comment
names; none is a guess.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtrial.errors import DataError, UnknownName
from segtrial.fetching import Bar, Fetched, RemoteFile, fetch, forget
from segtrial.files import failpoint, folder_lock, sha256, sync_folder, write_json
from segtrial.unpacking import unpack

SOURCE = "SOURCE.json"
"""The file in a fetched folder that says what it is and where it came from."""

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class DataSet:
    """A public set: what it is, the archives it comes in, and the data.yaml that reads it ("" if none is needed).

    `page` is where people read about it, and fetch files that have no address.
    """

    name: str
    about: str
    task: str
    images: int
    licence: str
    citation: str
    page: str
    files: tuple[RemoteFile, ...]
    description: str = ""
    finish: Callable[[Path], None] | None = None

    @property
    def size(self) -> int | None:
        """Bytes to fetch, None if not all of the sizes are known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None

    @property
    def by_hand(self) -> bool:
        """Whether a person must fetch it."""
        return not all(file.url for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """What `segtrial data list --json` says of it; a checksum is null where none is published."""
        plain = ("name", "about", "task", "images", "size", "licence", "citation", "page", "by_hand")
        files = [
            {"name": file.name, "url": file.url or None, "size": file.size}
            | {"sha256": file.sha256 or None, "md5": file.md5 or None}
            for file in self.files
        ]
        return {key: getattr(self, key) for key in plain} | {"files": files}


def _cifar(folder: Path) -> None:
    """CIFAR-10's records of 1 + 3072 bytes -> train.npz and test.npz (images n c h w, labels, class_names)."""
    import numpy as np

    batches = folder / "cifar-10-batches-bin"
    for part, names in (("train", [f"data_batch_{n}.bin" for n in range(1, 6)]), ("test", ["test_batch.bin"])):
        data = np.concatenate([np.fromfile(batches / name, np.uint8) for name in names])
        records = data.reshape(-1, 3073)  # n, label and 3 x 32 x 32 values
        images = records[:, 1:].reshape(-1, 3, 32, 32)
        np.savez(folder / f"{part}.npz", images=images, labels=records[:, 0], class_names=np.array(CIFAR_CLASSES))
    shutil.rmtree(batches)


SETS = (
    DataSet(
        "camvid",
        "street scenes from a car, 960x720, 32 classes; consecutive frames, so a random split leaks",
        "segmentation",
        701,
        "none stated by its authors",
        "Brostow, Fauqueur, Cipolla. Semantic object classes in video. Pattern Recognition Letters 2009.",
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
        # fast.ai's copy: the authors' pages have no https. Size: fastai's checks.txt, whose MD5 is of 1 MB only.
        (RemoteFile("camvid.tgz", "https://s3.amazonaws.com/fast-ai-imagelocal/camvid.tgz", 598_913_237),),
        "root: camvid\nimages: images\nmasks: labels\nmask_suffix: _P\ngroup: '([^/_]+)_f?\\d+$'\n"
        "classes: [Animal, Archway, Bicyclist, Bridge, Building, Car, CartLuggagePram, Child, Column_Pole, Fence,\n"
        "  LaneMkgsDriv, LaneMkgsNonDriv, Misc_Text, MotorcycleScooter, OtherMoving, ParkingBlock, Pedestrian, Road,\n"
        "  RoadShoulder, Sidewalk, SignSymbol, Sky, SUVPickupTruck, TrafficCone, TrafficLight, Train, Tree,\n"
        "  Truck_Bus, Tunnel, VegetationMisc, Void, Wall]\n",
    ),
    DataSet(
        "chase_db1",
        "retinal vessels of 14 children, both eyes, 999x960; the first observer's masks",
        "binary",
        28,
        "CC BY 4.0",
        "Fraz et al. An ensemble classification-based approach applied to retinal blood vessel segmentation. "
        "IEEE Transactions on Biomedical Engineering 2012.",
        "https://researchinnovation.kingston.ac.uk/en/datasets/chasedb1-retinal-vessel-reference-dataset-4/",
        (RemoteFile("CHASEDB1.zip"),),  # the page lets only browsers fetch it
        "mask_suffix: _1stHO\ngroup: 'Image_(\\d+)'\n",
    ),
    DataSet(
        "cifar10",
        "small pictures, 32x32, 10 classes; converted to train.npz and test.npz",
        "classification",
        60_000,
        "none stated by its authors",
        "Krizhevsky. Learning multiple layers of features from tiny images. 2009.",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (  # the binary version: the Python one is pickled. Size and SHA-256: TensorFlow Datasets, cifar10.txt.
            RemoteFile(
                "cifar-10-binary.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        finish=_cifar,
    ),
    DataSet(
        "cityscapes",
        "streets of 50 cities, 2048x1024, 19 classes",
        "segmentation",
        5_000,
        "own terms: non-commercial research, after registration",
        "Cordts et al. The Cityscapes dataset for semantic urban scene understanding. CVPR 2016.",
        "https://www.cityscapes-dataset.com/downloads/",
        (RemoteFile("leftImg8bit_trainvaltest.zip"), RemoteFile("gtFine_trainvaltest.zip")),
    ),
    DataSet(
        "kvasir_seg",
        "polyps in endoscopic pictures of many sizes; masks are JPEG, read by the nearer of black and white",
        "binary",
        1_000,
        "research and education only",
        "Jha et al. Kvasir-SEG: a segmented polyp dataset. MMM 2020.",
        "https://datasets.simula.no/kvasir-seg/",
        (RemoteFile("kvasir-seg.zip", "https://datasets.simula.no/downloads/kvasir-seg.zip"),),
        "root: Kvasir-SEG\nimages: images\nmasks: masks\ncolor_tolerance: 442\n"
        "classes: [{name: background, color: [0, 0, 0]}, {name: polyp, color: [255, 255, 255]}]\n",
    ),
    DataSet(
        "oxford_pets",
        "cats and dogs of 37 breeds, many sizes: the animal, and its uncertain border, which counts nowhere",
        "binary",
        7_390,
        "CC BY-SA 4.0",
        "Parkhi, Vedaldi, Zisserman, Jawahar. Cats and dogs. CVPR 2012.",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        (  # sizes and SHA-256: TensorFlow Datasets, oxford_iiit_pet/checksums.tsv
            RemoteFile(
                "images.tar.gz",
                "https://thor.robots.ox.ac.uk/~vgg/data/pets/images.tar.gz",
                791_918_971,
                "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            ),
            RemoteFile(
                "annotations.tar.gz",
                "https://thor.robots.ox.ac.uk/~vgg/data/pets/annotations.tar.gz",
                19_173_078,
                "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            ),
        ),
        "images: images\nmasks: annotations/trimaps\nignore: [3]\n"
        "classes: [{name: background, ids: [2]}, {name: pet, ids: [1]}]\n",
    ),
    DataSet(
        "penn_fudan",
        "pedestrians on two campuses; its numbered people are read as one class",
        "binary",
        170,
        "none stated by its authors",
        "Wang, Shi, Song, Shen. Object detection combining recognition and segmentation. ACCV 2007.",
        "https://www.cis.upenn.edu/~jshi/ped_html/",
        (  # size: what the server declares, as many logs show; MD5: Avalanche, penn_fudan_data.py
            RemoteFile(
                "PennFudanPed.zip",
                "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",
                53_723_336,
                md5="5aaa3dee905cef73325923716e38fc6d",
            ),
        ),
        "root: PennFudanPed\nimages: PNGImages\nmasks: PedMasks\nmask_suffix: _mask\n"
        f"classes: [{{name: background, ids: [0]}}, {{name: person, ids: {list(range(1, 31))}}}]\n",
    ),
    DataSet(
        "voc2012",
        "photographs, 20 kinds of objects and background; 2913 of the pictures have masks",
        "segmentation",
        2_913,
        "the terms of use of flickr, for the images",
        "Everingham et al. The Pascal visual object classes challenge: a retrospective. IJCV 2015.",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        (  # size: TensorFlow Datasets, voc.txt; address and MD5: torchvision 0.29, datasets/voc.py
            RemoteFile(
                "VOCtrainval_11-May-2012.tar",
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                1_999_639_040,
                md5="6cd6e144f989b92b3379bac3b3de84fd",
            ),
        ),
    ),
)


def find(name: str) -> DataSet:
    """The set of this name. Raises UnknownName."""
    known = {one.name: one for one in SETS}
    if name not in known:
        raise UnknownName("data set", name, known)
    return known[name]


def get(wanted: DataSet, out: Path, bar: Bar, notes: Path) -> bool:
    """Make `out` the whole set; False if it was that before. `notes` keeps the checksums of first downloads.

    Archives go to `out`.download and are deleted once unpacked, but for those that somebody put there. Raises
    DataNotFound where a file is missing and cannot be fetched, DataError for wrong ones and for an `out` that holds
    something else, RunError while another process does the same.
    """
    out = out.resolve()
    whole, downloads = _is_whole(wanted, out), out.parent / f"{out.name}.download"
    if whole and not downloads.exists():
        return False
    with folder_lock(downloads):
        made = not _is_whole(wanted, out)
        if made:
            _make(wanted, out, downloads, bar, notes)
        _clear(wanted, downloads)
    return made


def _is_whole(wanted: DataSet, out: Path) -> bool:
    """Whether `out` is this set, as it only is when whole. Raises DataError if it holds something else."""
    try:
        if json.loads((out / SOURCE).read_bytes())["name"] == wanted.name:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return False
    raise DataError(out, f"it is there already, and not {wanted.name}", "Choose another --out, or remove it")


def _make(wanted: DataSet, out: Path, downloads: Path, bar: Bar, notes: Path) -> None:
    """Fetch and check all files, then unpack them into a folder of their own, and rename that."""
    for leftover in downloads.glob(".unpacking-*"):
        shutil.rmtree(leftover)
    otherwise = _advice(wanted, downloads)
    fetched = [_fetched(wanted, file, downloads, bar, otherwise, notes) for file in wanted.files]
    private = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=downloads))
    private.chmod(0o755)
    for one in fetched:
        unpack(one.path, private, said=lambda count, name=one.path.name: bar(count, count + 1, f"{name} (files)"))
    if wanted.finish is not None:
        wanted.finish(private)
    if wanted.description:
        (private / "data.yaml").write_text(wanted.description)
    contents = {one.path.name: {"size": one.size, "sha256": one.sha256} for one in fetched}
    write_json(private / SOURCE, wanted.to_json() | {"fetched": contents})
    os.sync()
    failpoint("get.unpacked")
    os.replace(private, out)
    sync_folder(out.parent)
    failpoint("get.renamed")


def _fetched(wanted: DataSet, file: RemoteFile, folder: Path, bar: Bar, otherwise: str, notes: Path) -> Fetched:
    """One file; without a published checksum it must be the one that came first."""
    if file.sha256 or file.md5:
        return fetch(file, folder, bar, otherwise)
    note = notes / f"{sha256(f'{wanted.name} {file.name} {file.url}'.encode())[:16]}.json"
    try:
        first = json.loads(note.read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        first = ""
    trusted = f"noted from the first download, in {note}"
    found = fetch(replace(file, sha256=first, trusted=trusted), folder, bar, otherwise)
    if not first:
        write_json(note, {"set": wanted.name, "file": file.name, "size": found.size, "sha256": found.sha256})
    return found


def _advice(wanted: DataSet, downloads: Path) -> str:
    """Which files to put where."""
    missing = [file for file in wanted.files if not (downloads / file.name).exists()]
    named = ", ".join(f"{file.name} ({file.url})" if file.url else file.name for file in missing)
    where = f" from {wanted.page}" if wanted.by_hand else ""
    return f"Fetch {named}{where}, put it into {downloads.absolute()}, and repeat the command"


def _clear(wanted: DataSet, downloads: Path) -> None:
    """Delete what was downloaded, and the folder unless something that somebody put there is left."""
    for file in wanted.files:
        forget(downloads / file.name)
    if all(path.name == ".lock" for path in downloads.iterdir()):
        shutil.rmtree(downloads)
