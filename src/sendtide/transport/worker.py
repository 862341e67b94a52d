"""Running an app as a process: signals, exit codes, no web server."""

from __future__ import annotations

import asyncio
from typing import Any

import faust

__all__ = ["run_worker"]


def run_worker(
    app: faust.App,
    *services: Any,
    loglevel: str = "WARNING",
    loop: asyncio.AbstractEventLoop | None = None,
) -> int:
    """Run until SIGINT or SIGTERM and return the exit code: 0 drained, 1 crashed.

    On a signal the agents finish what they have begun, offsets are committed and the group is
    left, within `Settings.revoke_timeout_s` + `close_timeout_s`. Logging is left as it is.
    """
    if app.boot_strategy.enable_web is None:
        app.boot_strategy.enable_web = False
    worker = faust.Worker(
        app,
        *services,
        loglevel=loglevel,
        quiet=True,
        loop=loop or asyncio.new_event_loop(),
        redirect_stdouts=False,
        override_logging=False,
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
