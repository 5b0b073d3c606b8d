"""Imports only point down, each file has its caption, and files and functions stay small enough to read."""

import ast
import inspect
import re
from functools import cache
from pathlib import Path

from segtrial import errors

PACKAGE = Path(__file__).parents[1] / "src" / "segtrial"

FLOORS = (
    {"shapes", "errors", "classes", "randomness", "files", "colors", "plain_yaml"},
    {  # rooms that never see each other
        *("data", "models", "losses", "class_weights", "counts", "optimizers", "schedules", "statistics"),
        *("clusters", "drawing", "hardware", "tensorfile", "ranks", "signals"),
        *("image_scores", "calibration", "boundaries", "label_quality", "presets", "fetching", "hub", "unpacking"),
    },
    {"scores", "recipe", "data_sets"},
    {"tasks"},
    {"modelfile", "prediction"},
    {"evaluation", "pretrained", "definitions"},
    {"training", "explaining", "exporting", "inspection", "serving", "answers"},
    {"fitdoctor"},
    {"comparison"},
    {"tuning", "reports"},
    {"__init__", "__main__", "api", "cli", "console"},
)
MAY_SEE_ITS_FLOOR = (0, 10)  # words build on words, and the door is one room in several files

LONGEST_FILE, LONGEST_FUNCTION, USUAL_FUNCTION = 400, 80, 10

FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room_of(path: Path) -> str:
    """The part of the package that a file belongs to: `data` for data/masks.py, `cli` for cli_words.py."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return re.sub(r"^(training|cli|recipe|api)_\w+$", r"\1", first)


def floor_of(room: str) -> int:
    """Raises if a new room is on no floor: put it on one in FLOORS."""
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert len(found) == 1, f"{room!r} stands on {len(found)} floors"
    return found[0]


def imported_rooms(tree: ast.Module) -> set[str]:
    """Rooms that a file imports anywhere, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "segtrial":
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segtrial."):
            modules.add(str(node.module).split(".")[1])
    return {re.sub(r"^(training|cli|recipe|api)_\w+$", r"\1", module) for module in modules}


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_imports_point_down():
    for path in FILES:
        me = room_of(path)
        mine = floor_of(me)
        limit = mine if mine in MAY_SEE_ITS_FLOOR else mine - 1
        wrong = {room for room in imported_rooms(tree_of(path)) - {me} if floor_of(room) > limit}
        assert not wrong, f"{path}: {me} (floor {mine}) imports {sorted(wrong)}"


def test_imports_are_written_so_that_this_test_sees_them():
    """`import segtrial.x`, relative imports and import_module("segtrial.x") would be invisible above."""
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                hidden = [alias.name for alias in node.names if alias.name.split(".")[0] == "segtrial"]
                assert not hidden, f"{path}:{node.lineno}: write `from segtrial import ...`, not import {hidden[0]}"
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                assert node.module != "__future__", f"{path}:{node.lineno}: jaxtyping reads annotations at run time"
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                assert "segtrial" not in ast.unparse(node), f"{path}:{node.lineno}: import by a written name"


def test_each_file_opens_with_its_caption():
    for path in FILES:
        caption = (ast.get_docstring(tree_of(path)) or "").split("\n")[0]
        said = f"{path}: the first docstring line is the file's caption, got {caption!r}"
        assert caption.endswith((".", ":")), said
        assert 20 <= len(caption) <= 118, said


def test_files_and_functions_are_short():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, path
        too_long = {f.name: length(f) for f in functions(tree_of(path)) if length(f) > LONGEST_FUNCTION}
        assert not too_long, path


def test_the_usual_function_is_a_few_lines():
    lengths = sorted(length(f) for path in FILES for f in functions(tree_of(path)))
    assert lengths[len(lengths) // 2] <= USUAL_FUNCTION


def test_the_exception_tree_is_drawn_as_it_is():
    drawn: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([ |]*)(?:\+-- )?([A-Z]\w+)(?:  .*)?$", line)
        if found is None or found[2] not in vars(errors):
            continue
        depth = line.index(found[2])
        branch = [(column, name) for column, name in branch if column < depth]
        drawn[found[2]] = branch[-1][1] if branch else "Exception"
        branch.append((depth, found[2]))
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    }
    assert drawn == real


def test_every_exception_is_declared_in_one_file():
    for path in (path for path in FILES if path.name != "errors.py"):
        classes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
        own = [
            node.name for node in classes if any(re.search(r"(Error|Exception)$", ast.unparse(b)) for b in node.bases)
        ]
        assert not own, f"{path}: {own} belong into errors.py"
