"""What is shipped: pins, bounds, commands, and pages that say what the source says."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
README = (ROOT / "README.md").read_text()


def required() -> list[str]:
    """Every requirement of the project: base, extras, dev."""
    extras = PROJECT["project"]["optional-dependencies"]
    groups = [PROJECT["project"]["dependencies"], *extras.values(), *PROJECT["dependency-groups"].values()]
    return [requirement for group in groups for requirement in group]


def plain_name(requirement: str) -> str:
    return re.split(r"[\[=<>~!; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_pins_are_the_same_for_uv_and_pip():
    assert PROJECT["tool"]["uv"]["constraint-dependencies"] == PINS


def test_pins_are_exact_and_name_no_address():
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", pin) for pin in PINS)
    assert sorted(map(plain_name, PINS)) == [plain_name(pin) for pin in PINS]
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_everything_that_is_needed_is_pinned():
    pinned = {plain_name(pin) for pin in PINS}
    needed = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    assert [name for name in map(plain_name, needed) if name not in pinned] == []


def test_what_belongs_to_one_kind_of_machine_is_not_pinned():
    assert [pin for pin in PINS if pin.startswith(("nvidia-", "cuda-", "triton"))] == []


@pytest.mark.parametrize("requirement", required())
def test_every_dependency_has_a_lower_bound(requirement):
    assert re.search(r">=\d|==\d", requirement)


def test_no_copyleft_dependency():
    assert {plain_name(requirement) for requirement in required()} & {
        "ultralytics",
        "albumentationsx",
        "lightly-train",
    } == set()


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Requirements that these statements import."""
    modules: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.split(".")[0])
    other_names = {"PIL": "pillow", "yaml": "pyyaml"}
    return {
        other_names.get(name, name).replace("_", "-") for name in modules - set(sys.stdlib_module_names) - {"segtrial"}
    }


ROOMS_OF_EXTRAS = {"serving": "serve", "tuning": "tune"}
"""Rooms that nobody enters without their extra."""


def test_what_the_package_imports_it_declares():
    """Else it works here, where the tests' own dependencies are, and nowhere else. Functions may import extras."""
    needed = {plain_name(requirement) for requirement in PROJECT["project"]["dependencies"]}
    extras = {name: set(map(plain_name, each)) for name, each in PROJECT["project"]["optional-dependencies"].items()}
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        mine = extras.get(ROOMS_OF_EXTRAS.get(path.parent.name, ""), set())
        assert imported(tree.body) <= needed | mine, path
        assert imported(ast.walk(tree)) <= needed.union(*extras.values()), path


def test_generated_parts_of_the_pages_are_up_to_date():
    """If this fails: python docs/generate.py"""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [page.name for page, text in generate.pages().items() if page.read_text() != text]
    assert stale == []
    listed = set(re.findall(r"[\w/]+\.py", generate.tree(generate.files_of)))
    assert {path.name for path in (ROOT / "src").rglob("*.py") if path.name not in ("__init__.py", "__main__.py")} <= {
        Path(name).name for name in listed
    }
    assert all(row.split("|")[4].strip() for row in generate.fields().splitlines()[2:]), "a field without a meaning"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")], ids=str)
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|<img[^>]* src=\"([^\"]+)\"", text)
    targets = [link or image for link, image in links]
    assert [to for to in targets if "://" not in to and not (page.parent / to).exists()] == []


def test_the_first_commands_of_the_readme_are_the_demo_and_the_tests():
    commands = [
        line for block in re.findall(r"```(?:sh|bash)\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
    ]
    assert commands[0] == "pip install uv && uv run segtrial demo"
    assert commands[1] == "uv run pytest"
    assert "pip install -c constraints.txt -e ." in README


def test_ci_runs_what_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    for command in ("uv run pytest", "uv run segtrial demo", "ruff check", "ruff format --check", "pyright"):
        assert command in script
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"]).returncode == 0


def test_the_command_is_installed():
    assert PROJECT["project"]["scripts"] == {"segtrial": "segtrial.cli:main"}
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def test_warnings_are_errors_and_shapes_are_checked():
    options = PROJECT["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"] == ["error"]
    assert "--jaxtyping-packages=segtrial,beartype.beartype" in options["addopts"]
