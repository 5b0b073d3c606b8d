"""RUN and a repository's name -> model file and card on the hub: `segtrial push`, in words or as JSON."""

import json
from pathlib import Path
from typing import Annotated

import typer


def push(
    model: Annotated[Path, typer.Argument(help="A run folder, or a model file.", show_default=False)],
    repository: Annotated[str, typer.Argument(help="owner/name on the hub.", show_default=False)],
    license: Annotated[str, typer.Option(help="The model's licence in the hub's words: apache-2.0, cc-by-4.0, other.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository that everybody sees.")] = False,
    findings: Annotated[
        Path | None,
        typer.Option(help="What `segtrial inspect DATA --json` printed: the card tells its leaks.", show_default=False),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Only write the card to this file; nothing is sent.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Publish a model on the Hugging Face hub, with a card that says what its run knows.

    Sends model.safetensors and README.md: data, scores with definitions and intervals, limits, how to load. A new
    repository is private unless --public. Log in first: hf auth login, or set HF_TOKEN.
    """
    from segtrial import api

    told = api.push(model, repository, license, public=public, findings=findings, only_card=card)
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    elif card is not None:
        print(f"Card    {card}\nNothing was sent.")
    else:
        print(f'Model   {told["url"]}\nLoad    segtrial.load("{repository}")')
