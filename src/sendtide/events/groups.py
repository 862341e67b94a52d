"""Groups of recipients that a model should serve alike: by time zone, by mailbox provider.

A group is a place: those of time zones are first, bands of three hours of offset from UTC, west to
east; those of mailbox providers follow, as `mailbox.MAILBOX_PROVIDERS` has them.
"""

from __future__ import annotations

from typing import Final

from sendtide.events.mailbox import MAILBOX_PROVIDERS

__all__ = ["BANDS", "BAND_HOURS", "PLACES", "WESTMOST"]

WESTMOST: Final = -12
BAND_HOURS: Final = 3
BANDS: Final = tuple(
    f"UTC{west:+d} to {west + BAND_HOURS - 1:+d}" for west in range(WESTMOST, 15, BAND_HOURS)
)
PLACES: Final = (*BANDS, *MAILBOX_PROVIDERS)
"""Names of all places; a send is in one band and with one provider."""
