"""Running an app as a process: signals, exit codes, no web server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import faust

__all__ = ["run_worker"]

# Faust and mode silence the loggers of their services where logging is not set up; not this one.
_log = logging.getLogger(__name__)


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
    worker.spinner = None  # it writes terminal codes to standard output
    code: object = 0
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        code = ended.code
    if app.crash_reason is not None:
        _log.critical("the worker stopped because of an error", exc_info=app.crash_reason)
    return code if isinstance(code, int) else int(code is not None)
