"""What workers run is compiled before anybody waits for one with a clock in hand."""

from __future__ import annotations

from pathlib import Path
from threading import Timer
from typing import Final

from sendtide.commands.output import note
from sendtide.pipeline import Pipeline, load_pipeline
from sendtide.stages.warm_up import warm_up

__all__ = ["compile_workers"]

_LONG_S: Final = 8.0
"""Longer than it takes to load what is compiled already."""
_WORDS: Final = "compiling what workers run; the first time it takes a minute or two ..."


def compile_workers(pipeline_file: Path | None = None) -> None:
    """Fill the cache that workers of this pipeline load from when they are started after this."""
    telling = Timer(_LONG_S, note, [_WORDS])
    telling.start()
    try:
        warm_up(load_pipeline(pipeline_file) if pipeline_file else Pipeline())
    finally:
        telling.cancel()
