"""Notebooks -> the same notebooks with their outputs: run from their source, each in a folder of its own.

    python examples/execute.py             # all of them
    python examples/execute.py r0 r3       # those whose names begin so

What depends on the machine is stripped: execution times, the interpreter's version. Cells print no paths and no times.
"""

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
LONGEST = 600
"""Seconds that one cell may take."""


def executed(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook, run from its first cell to its last in `folder`. Raises CellExecutionError where a cell fails."""
    shutil.copy(HERE / "lesson.py", folder)
    source = nbformat.read(notebook, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory() as sockets:  # files: no port is opened
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(Path(sockets) / "kernel"))
        NotebookClient(source, km=kernel, timeout=LONGEST, resources=place, coalesce_streams=True).execute()
    return stripped(source)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what another machine, or another minute, would write otherwise."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):  # and not how Python calls the figure
                output["data"], output["metadata"] = {"image/png": small(output["data"]["image/png"])}, {}
    return notebook


def small(png: str) -> str:
    """A PNG in base64 -> the same picture in at most 256 colours, which takes a third of the space."""
    picture, held = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if picture.mode == "P":
        return png
    picture.convert("RGB").quantize(256).save(held, "PNG", optimize=True)
    return base64.b64encode(held.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run the notebooks whose names begin with one of `names`, or all, and write them where they were."""
    for notebook in sorted(HERE.glob("*.ipynb")):
        if not names or notebook.name.startswith(tuple(names)):
            with tempfile.TemporaryDirectory() as folder:
                nbformat.write(executed(notebook, Path(folder)), notebook)
            print(notebook.name)


if __name__ == "__main__":
    main(sys.argv[1:])
