"""Files, folders, globs, lists and stdin -> pictures, each once, with the place of its answer below the output folder.

    a.png                 a.png
    folder                rel/stem of every picture below it
    "in/*/x/*.png"        what follows the part without wildcards
    list.txt, -           as if each line of the file, or of stdin, had been typed; a file that is gone is skipped

Two pictures from different folders that would have one name get the folders before it that tell them apart:
`one/a.png` and `two/a.png` become `one/a` and `two/a`. So the same words always give the same names.
"""

import glob
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from segtrial.data._walk import walk
from segtrial.data.pictures import EXTENSIONS
from segtrial.errors import DataError, DataNotFound, nearest
from segtrial.prediction.rasters import ARRAY

STDIN, LIST = "-", ".txt"

Named = tuple[Path, Path]
"""A picture, and its path below the input that named it."""


def sources(inputs: Sequence[str | Path], out: Path) -> list[Named]:
    """Every picture that `inputs` name, in their order. Raises DataNotFound if one of them names nothing."""
    if not inputs:
        raise DataNotFound("images", "none were named", "Give pictures, folders or globs")
    found: dict[tuple[str, Path], Path] = {}
    for given in inputs:
        pictures = list(_listed(given, out) if _is_list(given) else _named_by(given, out))
        if not pictures:
            raise DataNotFound(given, "no picture in it", f"Give pictures ({', '.join(sorted(EXTENSIONS))})")
        for path, relative in pictures:
            found.setdefault((os.path.abspath(path), relative), path)
    return _apart([(path, relative) for (_, relative), path in found.items()])


def _is_list(given: str | Path) -> bool:
    return str(given) == STDIN or (Path(given).suffix.lower() == LIST and Path(given).is_file())


def _listed(given: str | Path, out: Path) -> Iterator[Named]:
    """What the lines of a list name; a line that names nothing is left to be reported with the pictures skipped."""
    for line in _lines(given):
        there = os.path.exists(line) or glob.has_magic(line)  # False also for a name that is too long
        found = list(_named_by(line, out)) if there else []
        yield from found or [(Path(line), Path(Path(os.path.abspath(line)).name))]


def _lines(given: str | Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(given) == STDIN else Path(given).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataNotFound(given, f"cannot be read as a list ({error})", "Write one name a line, in UTF-8") from error
    lines = text.split("\0") if "\0" in text else re.split("\r?\n", text)  # as find -print0 separates them
    return [line for line in lines if line.strip()]


def _named_by(given: str | Path, out: Path) -> Iterator[Named]:
    """What one word names."""
    path = Path(given)
    if path.is_dir():
        yield from ((picture, picture.relative_to(path)) for picture in _below(path, out))
    elif path.exists() or path.is_symlink():
        yield path, Path(path.name)
    elif glob.has_magic(str(given)):
        base = _base(path)
        inside = base.resolve() in out.resolve().parents  # what an earlier run wrote there is no picture to answer
        for match in map(Path, sorted(glob.glob(str(path), recursive=True))):
            if not (inside and out.resolve() in (match.resolve(), *match.resolve().parents)):
                pictures = _below(match, out) if match.is_dir() else [match] * _is_picture(match)
                yield from ((picture, picture.relative_to(base)) for picture in pictures)
    else:
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataNotFound(path, "there is no such file or folder", f"{nearest(path.name, beside)}Check the name")


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in (*EXTENSIONS, ARRAY)


def _base(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    plain = [index for index, part in enumerate(pattern.parts) if glob.has_magic(part)]
    return Path(*pattern.parts[: plain[0]])


def _below(folder: Path, out: Path) -> list[Path]:
    """The pictures below a folder, but not those that an earlier run wrote to an `out` inside it."""
    if out.resolve() == folder.resolve():
        raise DataError(out, "both an input folder and the output folder", "Choose another --out")
    written = out.resolve() if folder.resolve() in out.resolve().parents else None
    pictures = [file.path for file in walk(folder).pictures]
    return [path for path in pictures if written is None or written not in path.resolve().parents]


def _apart(named: Iterable[Named]) -> list[Named]:
    """The same pictures, those of one name told apart by the folders before it."""
    named = list(named)
    alike: dict[str, list[int]] = defaultdict(list)
    for index, (_, relative) in enumerate(named):
        alike[os.path.normcase(relative.with_suffix(""))].append(index)
    for group in (group for group in alike.values() if len(group) > 1):
        before = [_before(*named[index]) for index in group]
        for count in range(1, max(map(len, before)) + 1):
            ends = [folders[-count:] for folders in before]
            if len(set(ends)) == len(ends):
                for index, end in zip(group, ends, strict=True):
                    named[index] = (named[index][0], Path(*end, named[index][1]))
                break
    return named


def _before(path: Path, relative: Path) -> tuple[str, ...]:
    """The folders of a picture before its place below the input that named it."""
    whole = Path(os.path.abspath(path)).parts[1:]
    return whole[: len(whole) - len(relative.parts)]
