"""What the simulator knows it has made: one row per record, for an independent recount."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.messages import ENGAGEMENT_KINDS

__all__ = ["LEDGER_COLUMNS", "Ledger"]

I64 = NDArray[np.int64]

LEDGER_COLUMNS: Final = ("topic", "recipient", "ordinal", "send", "kind")
COUNTS: Final = ("send", *ENGAGEMENT_KINDS, "request")


class Ledger:
    """Columns per record made, in the order of making.

    topic: 0 send, 1 engagement, 2 request. recipient: row of the population. ordinal: which the
    event's id is made from, unique in a run. send: ordinal of the send it belongs to, -1 for a
    request. kind: index into ENGAGEMENT_KINDS, -1 if not an engagement.
    Limit: 40 bytes a record; for tests and short runs, not for endless ones.
    """

    def __init__(self) -> None:
        self._parts: list[I64] = []

    def sends(self, ordinal: I64, recipient: I64) -> None:
        """Note sends made."""
        self._note(0, recipient, ordinal, ordinal, np.full(len(ordinal), -1))

    def engagements(self, ordinal: I64, send: I64, recipient: I64, kind: I64) -> None:
        """Note engagements made."""
        self._note(1, recipient, ordinal, send, kind)

    def requests(self, ordinal: I64, recipient: I64) -> None:
        """Note requests made."""
        none = np.full(len(ordinal), -1)
        self._note(2, recipient, ordinal, none, none)

    def _note(self, topic: int, recipient: I64, ordinal: I64, send: I64, kind: I64) -> None:
        columns = [np.full(len(ordinal), topic), recipient, ordinal, send, kind]
        self._parts.append(np.stack(columns).astype(np.int64))

    def columns(self) -> dict[str, I64]:
        """All columns by name."""
        table = np.concatenate([np.zeros((5, 0), np.int64), *self._parts], axis=1)
        return dict(zip(LEDGER_COLUMNS, table, strict=True))

    def counts(self, recipients: int) -> I64:
        """Return (recipients, 9): sends, each engagement kind in its order, requests."""
        table = self.columns()
        slot = np.select([table["topic"] == 0, table["topic"] == 2], [0, 8], table["kind"] + 1)
        flat = np.bincount(table["recipient"] * 9 + slot, minlength=recipients * 9)
        return flat.reshape(recipients, 9)
