"""docs/your-own-folder.md: every command of the page ends as it says, and prints what it shows."""

import os
import re
import socket
import sys
from pathlib import Path

import pytest
import tutorial
from tutorial import Commands, File

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "your-own-folder.md"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tiny(text: str, port: int) -> str:
    """The same with budgets of two steps, and a port that nobody has."""
    text = text.replace("--minutes 1 ", "--steps 2 ").replace("minutes: 0.25", "steps: 2, threads: 1")
    return text.replace(":8765", f":{port}").replace("serve runs/first", f"serve runs/first --port {port}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_page_is_what_happens(tmp_path):
    port = free_port()
    blocks = tutorial.changed(tutorial.read(PAGE.read_text()), lambda text: tiny(text, port))
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shown = [block.shown for block in blocks if isinstance(block, Commands)]
    followed = tutorial.follow(blocks, tmp_path, {"SEGTRIAL_CACHE": str(tmp_path / "cache"), **path})
    for done, lines in zip(followed, shown, strict=True):
        for one in done:
            assert one.fits, f"{one.command}: exit code {one.code}\n{one.output}"
        output = "".join(one.output for one in done)
        assert not tutorial.missing(lines, output), output
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_every_verb_of_the_newcomer_is_on_the_page():
    commands = [
        line for block in tutorial.read(PAGE.read_text()) if isinstance(block, Commands) for line, _ in block.lines
    ]
    verbs = {found[1] for line in commands if (found := re.match(r"segtrial (\w+)", line))}
    assert verbs == {"inspect", "train", "predict", "explain", "compare", "export", "serve"}


def test_blocks_are_read_in_order():
    page = (
        "```python\n# a.py\nprint(1)\n```\ntext\n```sh\npython a.py\nls no  # exit code 2: gone\n```\n```text\n1\n```\n"
    )
    assert tutorial.read(page) == [
        File("a.py", "# a.py\nprint(1)\n"),
        Commands((("python a.py", 0), ("ls no", 2)), ("1",)),
    ]


def test_commands_end_as_they_say(tmp_path):
    lines = (("cat greeting", 0), ("ls no", 2), ("false", 0))
    ((first, second, third),) = tutorial.follow([File("greeting", "hello 3 times\n"), Commands(lines)], tmp_path)
    assert (first.output, first.code, first.fits) == ("hello 3 times\n", 0, True)
    assert (second.fits, third.code, third.fits) == (True, 1, False)


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("val: 9 images", True),
        ("val: 12 images", True),  # numbers are the reader's own
        ("image 4x4 of 5.5", True),
        ("... of 5", True),
        ("val: ...", True),
        ("...", True),
        ("val: 9 pictures", False),
        ("val:", False),
        ("images", False),
    ],
)
def test_a_line_is_found_by_its_words(line, there):
    assert (tutorial.missing([line], "  val:   9 images\nimage   10x10 of 0.25\n") == []) == there
