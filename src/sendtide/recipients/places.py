"""Where a recipient's row is: an open-addressing table of row numbers.

Its keys are the rows themselves: ids are compared where they are kept anyway, so that a known
recipient costs 4 bytes at a load of at most one half, and finding it one look into the table and
one into its row. Nobody is ever removed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.recipients.tables import NEVER, NONE
from sendtide.state.index import recipient_hash

__all__ = ["fitting_places", "locate", "new_places", "placed"]

Places = NDArray[np.int32]

_SMALLEST: Final = 64


def new_places(entries: int) -> Places:
    """A table with room for `entries` at a load of one half."""
    size = _SMALLEST
    while size < 2 * entries:
        size *= 2
    return np.full(size, NONE, np.int32)


def fitting_places(places: Places, people: NDArray[np.void], known: int, entries: int) -> Places:
    """The table itself, or a larger one of the same `known` people if `entries` need it."""
    return places if 2 * entries <= len(places) else placed(people, known, entries)


def placed(people: NDArray[np.void], known: int, entries: int) -> Places:
    """A table of the first `known` rows of `people`, with room for `entries`."""
    places = new_places(entries)
    _place_all(places, people, known)
    return places


@njit(cache=True)
def _place_all(places: Any, people: Any, known: int) -> None:
    for row in range(known):
        person = people[row]
        place = _place(person.client, person.high, person.low, places, people)
        places[place] = row


@njit(cache=True)
def _place(client: Any, high: Any, low: Any, places: Any, people: Any) -> Any:
    """Where the recipient's row number is, or where it would go."""
    mask = len(places) - 1
    place = np.int64(recipient_hash(client, high, low) & np.uint64(mask))
    while places[place] != NONE:
        person = people[places[place]]
        if person.low == low and person.high == high and person.client == client:
            break
        place = (place + 1) & mask
    return place


@njit(cache=True)
def locate(
    client: Any, high: Any, low: Any, places: Any, people: Any, count: Any, add: bool
) -> Any:
    """Row of a recipient, appended if `add`, else NONE. client: its code, NONE if it has none."""
    if client == NONE:
        return np.int32(NONE)
    place = _place(client, high, low, places, people)
    row = places[place]
    if row != NONE or not add:
        return row
    row = np.int32(count[0])
    count[0] += 1
    places[place] = row
    person = people[row]
    person.client, person.high, person.low = client, high, low
    person.pending = NONE
    person.profile_ms = person.newest_ms = NEVER
    person.last_send_min = person.last_open_min = NEVER
    return row
