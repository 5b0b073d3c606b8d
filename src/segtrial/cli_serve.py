"""MODELs -> a server with a page, until Ctrl-C: `segtrial serve`."""

import secrets
from collections.abc import Iterable
from typing import Annotated

import typer

from segtrial.errors import RecipeError, install


def serve(
    model: Annotated[
        list[str],
        typer.Argument(
            help="Run folders, model files, owner/name on the hub; the first is the default, NAME=PATH names one.",
            show_default=False,
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at. Others than this machine: see --token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="SEGTRIAL_TOKEN",
            help="A secret that clients must send (Authorization: Bearer, or a browser's password); new makes one.",
            show_default=False,
        ),
    ] = None,
    anyone: Annotated[
        bool, typer.Option("--anyone", help="Serve beyond this machine without a token: whoever gets there may ask.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that the server is called by, such as behind a proxy."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    tile: Annotated[
        str, typer.Option(help="Cut large images into tiles: auto (beyond 2 megapixels), none, or a side in pixels.")
    ] = "auto",
    watch: Annotated[
        bool, typer.Option("--watch", help="Load a model anew when its file changes. SIGHUP does it once.")
    ] = False,
    max_mb: Annotated[float, typer.Option(min=0.001, max=65536, help="The largest body of a request, in MiB.")] = 32,
    max_pixels: Annotated[int, typer.Option(min=1, help="The largest image.")] = 64_000_000,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; more are told to come later (503).")] = 64,
    per_client: Annotated[
        int | None,
        typer.Option(min=1, help="Of those from one address (429). Default: as many as the queue.", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=86400, help="The longest that an answer may take.")] = 60,
) -> None:
    """Answer for pictures that come over HTTP, with a page for the browser.

    Open the address that is printed, or send a picture: curl --data-binary @photo.jpg -H "Content-Type: image/jpeg"
    "http://127.0.0.1:8765/predict?answer=overlay" -o overlay.png. Answers are png (labels), overlay, confidence or
    json. Only this machine reaches the server unless --host says otherwise. Ctrl-C or SIGTERM finishes what runs.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise RecipeError("serve", f"{error.name} is not installed", install("serve")) from error
    from segtrial.serving.limits import Limits
    from segtrial.serving.server import Wish, named, serve

    if token == "new":
        token = secrets.token_urlsafe(24)
        print(f"Token   {token}", flush=True)
    limits = Limits(
        bytes=round(max_mb * 2**20), pixels=max_pixels, queue=queue, per_client=per_client or queue, seconds=seconds
    )
    wish = Wish(
        named(model),
        host=host,
        port=port,
        device=device,
        tile=tile,
        token=token,
        anyone=anyone,
        names=tuple(allow_host or ()),
        watch=watch,
        limits=limits,
    )
    serve(wish, lambda address: print(_welcome(address, wish.models), flush=True))


def _welcome(address: str, models: Iterable[str]) -> str:
    """What is said once every model answers."""
    curl = (
        f'curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" "{address}/predict?answer=overlay" -o overlay.png'
    )
    return f"Serving {', '.join(models)} at {address}/ (open it in a browser; Ctrl-C stops it)\nOr ask  {curl}"
