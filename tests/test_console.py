"""What somebody at a terminal is told while nothing else can be."""

import io
import sys

from segtrial import console


class Terminal(io.StringIO):
    """A stderr that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_that_something_is_loaded_until_it_is(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.loading():
        assert terminal.getvalue() == "loading ...\r"
    assert terminal.getvalue().endswith("\r\x1b[K"), "the line is empty again"


def test_a_log_is_told_nothing(capsys):
    with console.loading():
        pass
    assert capsys.readouterr().err == ""
