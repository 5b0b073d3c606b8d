"""Small folders of pictures, written as a test describes them."""

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
