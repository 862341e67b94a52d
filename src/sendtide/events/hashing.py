"""64-bit hashes of short texts, the same in compiled loops and in plain Python.

FNV-1a over the bytes with MurmurHash3's 64-bit finaliser: one multiplication a byte, good
avalanche, no state. Not keyed: addresses are protected by their HMAC, long before this.
0 is kept for "absent".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["ARMS", "GROUPS", "control_groups", "find_slot", "hash_bytes", "hash_identity"]
__all__ += ["hash_text", "in_control", "mix", "window_draws"]


@njit(cache=True, inline="always")
def mix(value: Any) -> Any:
    """MurmurHash3 fmix64: spreads every input bit over the whole word."""
    value = np.uint64(value)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    value ^= value >> np.uint64(33)
    return value


@njit(cache=True)
def hash_bytes(data: Any, start: int, end: int, seed: Any) -> Any:
    """Hash `data[start:end]` (uint8) starting from `seed`; never 0."""
    value = np.uint64(0xCBF29CE484222325) ^ np.uint64(seed)
    for i in range(start, end):
        value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    value = mix(value)
    return value if value != np.uint64(0) else np.uint64(1)


@njit(cache=True)
def find_slot(codes: Any, code: Any) -> Any:
    """Slot of `code` in an open-addressed table, or of the free place where it would go.

    `codes`: (a power of two,) uint64, 0 where free, never full.
    """
    mask = np.int64(len(codes) - 1)
    slot = np.int64(code) & mask
    while codes[slot] != np.uint64(0) and codes[slot] != code:
        slot = (slot + 1) & mask
    return slot


ARMS: Final = ("control", "explore", "optimised")
"""How a slot was chosen; position is the arm's code."""
_DRAW: Final = np.uint64(0x9E3779B97F4A7C15)
"""Salt of what is drawn for a window: not one that draws a control group."""
GROUPS: Final = 64
"""Groups of recipients, over which a rate's variance is taken; a power of two up to 256."""


def in_control(
    client: NDArray[np.uint64], recipient: NDArray[np.uint64], salt: str, share: float
) -> NDArray[np.bool_]:
    """Whether each recipient is of its client's control group; the same for good.

    client: (n,) hashes. recipient: (n, 2) ids. salt: a new one draws new groups. share: of all
    recipients, between 0 and 1. It is this function that says in which group a send was, whoever
    asks and whenever: the group is in no state.
    """
    return control_groups(client, recipient, salt, share)[0]


def control_groups(
    client: NDArray[np.uint64], recipient: NDArray[np.uint64], salt: str, share: float
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """As `in_control`, and beside it in which of GROUPS random groups each recipient is.

    The groups are of one size and independent of control: other bits of the same word.
    """
    words = _words(client, recipient, np.uint64(hash_text(salt)))
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit < share, (words % np.uint64(GROUPS)).astype(np.uint8)


def window_draws(
    client: NDArray[np.uint64],
    recipient: NDArray[np.uint64],
    start_ms: NDArray[np.int64],
    end_ms: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1): the same for the same recipient and window, independent of control.

    client: (n,) hashes. recipient: (n, 2) ids. start_ms, end_ms: (n,) of the windows.
    """
    windows = np.stack([start_ms, end_ms], axis=1).astype(np.uint64)
    words = _words(_words(client, recipient, _DRAW), windows, _DRAW)
    return np.asarray((words >> np.uint64(11)).astype(np.float64) * 2.0**-53)


@njit(cache=True)
def _words(client: Any, recipient: Any, salt: Any) -> Any:
    """64 random bits for each recipient."""
    out = np.empty(len(client), np.uint64)
    for i in range(len(client)):
        out[i] = mix(mix(mix(client[i] ^ salt) ^ recipient[i, 0]) ^ recipient[i, 1])
    return out


def hash_text(text: str) -> int:
    """Hash of one name; what the `client`, `source`, `segment` and `zone` columns hold."""
    data: NDArray[np.uint8] = np.frombuffer(text.encode(), np.uint8)
    return int(hash_bytes(data, 0, len(data), np.uint64(0)))


def hash_identity(source: str, identifier: str) -> int:
    """Hash of an event's identity `(source, id)`: the id's bytes, seeded by the source's hash."""
    data: NDArray[np.uint8] = np.frombuffer(identifier.encode(), np.uint8)
    return int(hash_bytes(data, 0, len(data), np.uint64(hash_text(source))))
