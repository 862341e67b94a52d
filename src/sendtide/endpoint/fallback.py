"""What is known of a client, for its recipients of whom nothing is known yet.

The client's own opens per send by hour of the week stand in for the missing record, under the tier
`client`, with the client's newest event and model version: live state too, only coarser. A client
that has published no hours leaves its recipients `unknown`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.records import (
    HOURS_PER_WEEK,
    RECIPIENT_LAYOUT,
    RECIPIENT_RECORD,
    TIERS,
    encode_scores,
)
from sendtide.sinks import ModelMetrics, Reader

__all__ = ["ClientFallback"]

KEEP_S: Final = 1.0
"""How long a client's record is reused; as fresh as the summaries it is made of."""
LIMIT_CLIENTS: Final = 10_000
_NOTHING: Final = np.zeros((), RECIPIENT_RECORD)


class ClientFallback:
    """Client records by name, made of the clients' published summaries."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[str, tuple[float, NDArray[np.void]]] = {}

    def fill(self, clients: Sequence[str], records: NDArray[np.void]) -> NDArray[np.void]:
        """`records` with the client's record in every row that has none.

        Raises:
            Unavailable: the store does not answer.
        """
        empty = np.flatnonzero(records["layout"] == 0)
        if not len(empty):
            return records
        filled = records.copy()
        for row in empty.tolist():
            filled[row] = self._record(clients[row])
        return filled

    def _record(self, client: str) -> NDArray[np.void]:
        until_s, kept = self._kept.get(client, (0.0, _NOTHING))
        now_s = time.monotonic()
        if now_s < until_s:
            return kept
        if len(self._kept) >= LIMIT_CLIENTS:
            self._kept.clear()
        made = _made(self._reader.metrics(client))
        self._kept[client] = (now_s + KEEP_S, made)
        return made


def _made(models: list[ModelMetrics]) -> NDArray[np.void]:
    """A record out of the summary that has hours; all zeros without one."""
    hours = [row.summary for row in models if row.summary.hour_scores]
    hours = [row for row in hours if len(row.hour_scores or ()) == HOURS_PER_WEEK]
    if not hours:
        return _NOTHING
    summary, record = hours[0], np.zeros(1, RECIPIENT_RECORD)
    rates = [row.summary.open_rate for row in models if row.summary.open_rate is not None]
    probabilities = np.array([summary.hour_scores], np.float64)
    record["layout"] = RECIPIENT_LAYOUT
    record["tier"] = TIERS.index("client")
    record["score_scale"], record["scores"] = encode_scores(probabilities)
    record["best_hour"] = probabilities.argmax()
    record["open_probability"] = rates[0] if rates else probabilities.mean()
    record["propensities"] = np.nan  # a client's mean says nothing of rare events
    record["hours_since_send"] = record["hours_since_open"] = np.nan
    record["model_version"] = summary.model_version
    record["event_time_ms"] = summary.newest_event_ms
    record["scored_at_ms"] = summary.as_of_ms
    made: NDArray[np.void] = record[0]
    return made
