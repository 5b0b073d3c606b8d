"""The verb that publishes in Python: a run or a model file, with its card, into a repository on the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrial.errors import DataError

Source = str | Path


def push(
    model: Source,
    repository: str,
    license: str,
    *,
    public: bool = False,
    findings: Source | None = None,
    only_card: Source | None = None,
) -> dict[str, Any]:
    """Put a run's model file, or a model file, and its card into `repository` on the hub, as one commit.

    `license` is the model's, in the hub's words: apache-2.0, cc-by-4.0, other, ... A repository that is not there is
    made, private unless `public`. `findings` is a file that `segtrial inspect DATA --json` printed: the card tells of
    its leaks. With `only_card` the card is written to that file, and nothing is sent. Returns what `segtrial push
    --json` prints. Raises UserError for a model that cannot be read, for an unfinished run, without a login, and if
    the hub refuses.
    """
    from segtrial import api, hub, modelfile
    from segtrial.files import write_atomic
    from segtrial.reports import model_card, records

    hub.require_name(repository)
    path = Path(model)
    file = api.model_path(path)
    header = modelfile.load(file).header.model_dump(by_alias=True, mode="json")  # loaded, so what is sent can be read
    run = records.read(path) if path.is_dir() else None
    text = model_card.card(repository, license, header, run, None if findings is None else _findings(Path(findings)))
    told: dict[str, Any] = {"schema": 1, "repository": repository, "url": None, "commit": None}
    if only_card is not None:
        write_atomic(Path(only_card), text.encode())
        return told | {"files": [str(only_card)]}
    files = {hub.FILE: file, "README.md": text.encode()}
    url, commit = hub.push(repository, files, f"Add {header['architecture']} and its card", public=public)
    return told | {"url": url, "commit": commit, "files": list(files)}


def _findings(path: Path) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(path.read_text())["findings"]
        return [{"code": str(one["code"]), "message": str(one["message"])} for one in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "Write it by: segtrial inspect DATA --json > findings.json"
        raise DataError(path, f"no findings of an inspection ({type(error).__name__})", fix) from error
