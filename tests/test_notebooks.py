"""The notebooks of examples/: sound, with outputs, speaking of nothing that is not there; the slow tests run them."""

import ast
import base64
import inspect
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from PIL import Image

import segtrial as st
from examples import execute

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

MOST_BYTES = 600_000
MAY_IMPORT = {"lesson", "matplotlib.pyplot", "numpy", "pathlib", "PIL", "segtrial"}
ABSOLUTE = re.compile(r"(?<![\w.\])])(/(home|root|tmp|usr|work|var|opt|Users)\b|[A-Z]:\\)")


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(notebook: NotebookNode) -> ast.Module:
    return ast.parse("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))


def prose_of(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def outputs_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def slug(heading: str) -> str:
    """The anchor that a heading of Markdown gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_report_has_one():
    assert [path.name[:3] for path in NOTEBOOKS] == ["r0-", "r1-", "r2-", "r3-", "r4-"]


@EVERY_NOTEBOOK
def test_it_is_a_notebook_with_its_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from the first to the last"
    assert all(cell.outputs for cell in code)
    kinds = {(output.output_type, output.get("name")) for output in outputs_of(notebook)}
    assert kinds == {("stream", "stdout"), ("display_data", None)}, "no errors, no warnings, nothing left over"
    assert sum("image/png" in output.get("data", {}) for output in outputs_of(notebook)) >= 3
    assert path.stat().st_size < MOST_BYTES


@EVERY_NOTEBOOK
def test_nothing_in_it_is_of_a_machine(path):
    notebook = read(path)
    assert execute.stripped(read(path)) == notebook
    said = "".join(output.get("text", "") for output in outputs_of(notebook))
    source = "".join(cell.source for cell in notebook.cells)
    assert ABSOLUTE.findall(said + source) == []


@EVERY_NOTEBOOK
def test_it_quotes_the_report_and_tries_its_claim(path):
    notebook = read(path)
    assert re.search(r"^> \S", notebook.cells[0].source, re.M), "one sentence of the report, quoted"
    called = {ast.unparse(node.func) for node in ast.walk(code_of(notebook)) if isinstance(node, ast.Call)}
    assert {"st.compare", "tell", "forest", "pictures", "curves"} <= called
    report = path.name[:2]
    assert f"docs/results.md#{report}-" in prose_of(notebook)
    assert re.search(rf"recipes/({report}-|trials/)", prose_of(notebook))


@EVERY_NOTEBOOK
def test_it_imports_what_everybody_has(path):
    for node in ast.walk(code_of(read(path))):
        if isinstance(node, ast.Import):
            assert {name.name for name in node.names} <= MAY_IMPORT
            assert all(name.asname == "st" for name in node.names if name.name == "segtrial")
        if isinstance(node, ast.ImportFrom):
            assert node.module in MAY_IMPORT - {"segtrial"}


@EVERY_NOTEBOOK
def test_it_calls_what_there_is(path):
    """Verbs, networks' helpers and keywords are those of the public API."""
    tree = code_of(read(path))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "st"]
    assert {node.attr for node in used} <= set(st.__all__)
    for node in ast.walk(tree):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and re.fullmatch(r"st\.\w+|st\.models\.\w+", name):
            verb = getattr(st.models if ".models." in name else st, node.func.attr)
            given = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(verb).bind(*node.args, **given)


@EVERY_NOTEBOOK
def test_what_it_points_to_is_there(path):
    prose = prose_of(read(path))
    for target, anchor in re.findall(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)", prose):
        file = (path.parent / target).resolve()
        assert file.is_file(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M) if anchor else ()
        assert not anchor or anchor in map(slug, headings), f"{target} has no heading {anchor}"
    for recipe in re.findall(r"\brecipes/[\w./-]+\.yaml", prose):
        assert (ROOT / recipe).is_file(), recipe


def test_what_is_stripped():
    """Times, the interpreter and the name of a figure go; sources, texts and pictures stay, in fewer bytes."""
    v4, held = nbformat.v4, io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGBA").save(held, "PNG")
    png = base64.b64encode(held.getvalue()).decode()
    picture = {"image/png": png, "text/plain": "<Figure size 640x480 with 1 Axes>"}
    outputs = [v4.new_output("stream", name="stdout", text="0.5\n"), v4.new_output("display_data", picture)]
    cell = v4.new_code_cell("print(0.5)", outputs=outputs, metadata={"execution": {"shell.execute_reply": "12:00"}})
    whole = v4.new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}})
    found = execute.stripped(whole)
    assert "3.11.7" not in str(found.metadata)
    assert found.cells[0].metadata == {}
    text, figure = found.cells[0].outputs
    assert text.text == "0.5\n"
    assert set(figure.data) == {"image/png"}
    assert len(figure.data["image/png"]) < len(png)
    assert execute.small(figure.data["image/png"]) == figure.data["image/png"]
    assert found.cells[0].source == "print(0.5)"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@EVERY_NOTEBOOK
def test_it_runs_from_its_source(path, tmp_path, own_cache):
    again, committed = execute.executed(path, tmp_path), read(path)
    kinds = [[output.output_type for output in outputs_of(notebook)] for notebook in (again, committed)]
    assert kinds[0] == kinds[1]
    assert all(output.get("name") != "stderr" for output in outputs_of(again))
