"""Decisions between variants, written down as they are made: a line of JSON each.

`sendtide lab policy FILE --action variant` reads the file once its lines have a column with what
became of the message. A decision asked again is written again; its first line counts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from sendtide.events.errors import ConfigurationError

__all__ = ["Decision", "DecisionLog"]

_ENCODER: Final = msgspec.json.Encoder()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen for a message, and with what probability."""

    at_ms: int
    client_id: str
    campaign_id: str
    decision_id: str
    variant: str
    propensity: float
    open_probability: float
    model_version: int


class DecisionLog:
    """Appends to one file; safe to use from many threads.

    Raises:
        ConfigurationError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("ab")
        except OSError as error:
            msg = f"--decisions {path} cannot be written: {error.strerror}; give another file"
            raise ConfigurationError(msg) from error
        self._lock = threading.Lock()

    def __call__(self, decisions: Sequence[Decision]) -> None:
        """Write these down, whole lines only."""
        lines = _ENCODER.encode_lines(decisions)
        with self._lock:
            self._file.write(lines)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
