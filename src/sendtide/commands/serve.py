"""`sendtide serve`: the inference endpoint, its metrics and the dashboard, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sendtide import endpoint
from sendtide.commands.options import RedisUrl, url_of
from sendtide.commands.output import note
from sendtide.commands.program import new_program
from sendtide.dashboard import Dashboard
from sendtide.sinks import RedisReader

__all__ = ["program", "serve"]

program = new_program()

_Host = Annotated[str, typer.Option(help="Address to listen on; loopback unless there are keys.")]
_Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free port.")]
_Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="API keys; needed beyond loopback.")
]


@program.command()
def serve(
    redis: RedisUrl = None, host: _Host = "127.0.0.1", port: _Port = 8080, keys: _Keys = None
) -> None:
    """Serve predictions (`/v2`, Open Inference Protocol), `/metrics` and the dashboard at `/`.

    It only reads Redis: start as many as needed. `sendtide endpoint` is the same.

    Example: `sendtide serve --redis redis://cache:6379/0 --host 0.0.0.0 --keys keys.toml`
    """
    reader = RedisReader(url_of(redis))
    application = endpoint.build(reader, {"/": Dashboard(reader)})
    shown = f"[{host}]" if ":" in host else host
    note(f"dashboard http://{shown}:{port}/  endpoint /v2  metrics /metrics")
    try:
        endpoint.serve(application, host, port, keys)
    finally:
        reader.close()
