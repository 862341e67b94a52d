"""The two sides of the read model: `Sink` writes it, `Reader` reads it.

Laws, held by one contract test over every implementation: what was written is read back; the same
write twice changes nothing; an older epoch of the same owner is `Fenced` and changes nothing;
epochs that are claimed rise; a store that was emptied or went back says so, once;
erased recipients are gone; a value outlives its write by its TTL and no longer.
All calls block; run them in a thread where an event loop must go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sendtide.sinks.layout import Owner
from sendtide.sinks.summaries import (
    ClientActivity,
    ClientLift,
    ModelMetrics,
    ModelSummary,
    PartitionCounts,
    SourceFreshness,
    WorkerBeat,
)

__all__ = ["Reader", "RecipientRows", "RecipientView", "Sink", "StateRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRows:
    """Which recipients: row i is recipient `recipients[i]` of `clients[client_index[i]]`.

    recipients: (n, 2), the 128-bit id as two big-endian halves. No row may occur twice.
    """

    clients: Sequence[str]
    client_index: NDArray[np.integer]
    recipients: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.recipients)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientView:
    """One recipient's record, decoded for people and programs.

    age_s: now minus the newest event behind the scores. stale: older than the reader's limit.
    low, high: ends of the scores' 95% credible intervals. control: of its client's control group.
    """

    client_id: str
    recipient_id: str
    tier: str
    best_hour: int
    open_probability: float
    sends: int
    opens: int
    effective_sends: float
    model_version: int
    event_time_ms: int
    scored_at_ms: int
    applied_offset: int
    epoch: int
    age_s: float
    stale: bool
    scores: list[float]
    low: list[float]
    high: list[float]
    control: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRow:
    """State of a client's model of one kind; value: its record on `ml.models`."""

    client_id: str
    kind: str
    value: bytes


class Sink(Protocol):
    """Writes.

    Every call raises `Unavailable` (nothing is lost: call again with the same rows) or `Fenced`
    (stop: another worker owns the partition).
    """

    def claim(self, owner: Owner, since: int = 0, *, late: bool = False) -> int:
        """Take a partition over; return the epoch to write under.

        Args:
            owner: its epoch is returned, or the next above that of whoever has written last.
            since: the `mark` that the owner's state remembers; a store that knows less than that
                is among the next `forgot`.
            late: others may have taken over meanwhile: then an epoch at or above is `Fenced`.
        """
        ...

    def left_ms(self, owner: Owner) -> int | None:
        """When whoever had a claimed partition before wrote last, by its clock; None: unknown."""
        ...

    def forgot(self, owners: Sequence[Owner]) -> list[Owner]:
        """Those of whose earlier writes the store has lost some; each loss is told once.

        Their values must all be written again, and `repaired` called after that. `Fenced` if a
        newer owner has taken one over, even where there is nothing to write.
        """
        ...

    def repaired(self, owner: Owner) -> None:
        """Say that everything of a partition has been written since it was told as forgotten."""
        ...

    def mark(self, owner: Owner) -> int:
        """How far the writes of a partition have come; to be remembered with its state."""
        ...

    def write_recipients(
        self, owner: Owner, rows: RecipientRows, records: NDArray[np.void]
    ) -> None:
        """Write n packed records."""
        ...

    def erase_recipients(self, owner: Owner, rows: RecipientRows) -> None:
        """Remove the records of recipients who are to be forgotten."""
        ...

    def write_models(self, owner: Owner, summaries: Sequence[ModelSummary]) -> None:
        """Replace the newest numbers of these models."""
        ...

    def write_lifts(self, owner: Owner, rows: Sequence[ClientLift]) -> None:
        """Replace what is known of these control groups."""
        ...

    def write_states(self, owner: Owner, states: Sequence[StateRow]) -> None:
        """Replace the newest states of these models."""
        ...

    def write_freshness(self, owner: Owner, rows: Sequence[SourceFreshness]) -> None:
        """Replace the freshness of these sources as this partition sees it."""
        ...

    def write_counts(self, owner: Owner, rows: Sequence[PartitionCounts]) -> None:
        """Replace these absolute counts, per client or (client None) run totals."""
        ...

    def beat(self, beat: WorkerBeat) -> None:
        """Say that a worker lives; forgotten after the TTL."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Reader(Protocol):
    """Reads. Every call raises `Unavailable` when the server does not answer."""

    def clients(self, limit: int = 100) -> list[ClientActivity]:
        """The clients written last, newest first."""
        ...

    def metrics(self, client: str | None = None, limit: int = 100) -> list[ModelMetrics]:
        """Newest numbers per client and model; of one client or of the `limit` newest."""
        ...

    def lifts(self, client: str | None = None, limit: int = 100) -> list[ClientLift]:
        """Clients beside their control groups, by metric; of one or of the `limit` newest."""
        ...

    def state(self, client: str, kind: str) -> bytes | None:
        """A client's newest state of a kind of model as on `ml.models`, None if there is none."""
        ...

    def freshness(self, client: str) -> list[SourceFreshness]:
        """Freshness of every source of a client, one row per source and partition."""
        ...

    def counts(self, client: str) -> dict[str, dict[str, int]]:
        """Topic to count to number, summed over partitions."""
        ...

    def totals(self) -> dict[str, dict[str, int]]:
        """As `counts`, over all clients."""
        ...

    def workers(self) -> list[WorkerBeat]:
        """Workers that gave a sign of life within the TTL."""
        ...

    def records(self, clients: Sequence[str], recipients: Sequence[str]) -> NDArray[np.void]:
        """(n,) records of n recipients in the order asked; `layout` is 0 where there is none."""
        ...

    def recipient(self, client: str, recipient_id: str) -> RecipientView | None:
        """One recipient's record, None if nothing is known of it."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
