"""The key that snapshots are signed with, from the environment: never a flag, never a file of ours.

`SENDTIDE_SNAPSHOT_KEY` holds it, or `SENDTIDE_SNAPSHOT_KEY_FILE` names a file that does; a new one
is made by `openssl rand -hex 32`. All workers of a group need the same. Without either, snapshots
are not signed. Once it is set, what was written before is refused and all is replayed, and so it is
when the key changes: the input topics must reach back that far.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sendtide.events.errors import ConfigurationError

__all__ = ["signing_key"]

_VARIABLE: Final = "SENDTIDE_SNAPSHOT_KEY"
_FILE_VARIABLE: Final = "SENDTIDE_SNAPSHOT_KEY_FILE"
_SHORTEST: Final = 32


def signing_key(environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the key, b"" if none is set.

    Raises:
        ConfigurationError: the file cannot be read, or the key is too short to be one.
    """
    text, source = environment.get(_VARIABLE, ""), _VARIABLE
    file = environment.get(_FILE_VARIABLE)
    if not text and file:
        source = f"{_FILE_VARIABLE} {file!r}"
        try:
            text = Path(file).read_text("utf-8")
        except (OSError, ValueError) as error:
            msg = f"{source} cannot be read: {error}; snapshots could not be signed"
            raise ConfigurationError(msg) from error
    key = text.strip().encode()
    if (text or file) and len(key) < _SHORTEST:
        msg = (
            f"{source} holds {len(key)} characters; a key that cannot be guessed has "
            f"{_SHORTEST} or more: openssl rand -hex 32"
        )
        raise ConfigurationError(msg)
    return key
