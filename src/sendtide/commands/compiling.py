"""What workers run is compiled before anybody waits for one with a clock in hand."""

from __future__ import annotations

import time
from typing import Final

from sendtide.commands.output import note
from sendtide.pipeline import Pipeline
from sendtide.stages import warm_up

__all__ = ["compile_workers"]

_LONG_S: Final = 10.0
"""Longer than it takes to load what is compiled already."""


def compile_workers() -> None:
    """Fill the cache that workers started after this load from; the first time takes minutes."""
    began = time.monotonic()
    warm_up(Pipeline())
    took_s = time.monotonic() - began
    if took_s > _LONG_S:
        note(f"compiled what workers run, once for this machine: {took_s:.0f} s")
