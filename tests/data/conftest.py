"""Small folders of pictures, written as a test describes them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Content = np.ndarray | Image.Image | bytes | str
Make = Callable[[Mapping[str, Content]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make({"images/a.png": array, "classes.txt": "sky\\nroad"})` -> the folder that holds these files."""

    def write(files: Mapping[str, Content]) -> Path:
        for name, content in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                content = Image.fromarray(content)
            if isinstance(content, Image.Image):
                content.save(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / "set"

    return write


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def real() -> Callable[[str], Path]:
    """`real("camvid")` -> the folder of that real set; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        base = os.environ.get("SEGTRIAL_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
        folder = Path(base) / name
        if not folder.is_dir():
            pytest.skip(f"real data {name!r} is not at hand (set SEGTRIAL_DATA)")
        return folder

    return find
