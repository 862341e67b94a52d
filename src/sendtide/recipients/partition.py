"""One partition of the recipients' topics: its state, and what a batch of each topic does to it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import EngagementBatch, RequestBatch, SendBatch
from sendtide.events.examples import HISTORY_COLUMNS
from sendtide.events.hashing import control_groups
from sendtide.events.time import ZoneTable
from sendtide.recipients.codes import Codes
from sendtide.recipients.counters import Counters
from sendtide.recipients.creatives import CreativeTable
from sendtide.recipients.due import DueRing
from sendtide.recipients.facts import facts_of, no_facts
from sendtide.recipients.history import evidence_of, histories, travelling
from sendtide.recipients.join import settle
from sendtide.recipients.outcome import Columns, Live, Outcome
from sendtide.recipients.places import fitting_places, new_places
from sendtide.recipients.rows import drop_orphan, engagement_rows, request_rows, send_rows
from sendtide.recipients.settings import JoinSettings, PolicySettings
from sendtide.recipients.tables import (
    CONTENT,
    HEARD,
    NONE,
    ORPHAN,
    PENDING,
    RECIPIENT,
    RHYTHM,
    SETTLED,
    WAITING,
    grown,
)
from sendtide.state.index import fitting, new_table
from sendtide.state.seen import SeenSet

__all__ = ["RecipientPartition"]

SENDS, ENGAGEMENTS, REQUESTS = range(3)
_ORPHANS_BEFORE_PURGE: Final = 4096


class RecipientPartition:
    """State after any prefixes of the three topics, whatever their interleaving.

    Args:
        number: of the partition. settings: of the join; they must not change over a state's life.
        policy: who is of the control group; in no state, so that it may change.
    """

    def __init__(
        self, number: int, settings: JoinSettings, policy: PolicySettings | None = None
    ) -> None:
        self.number = number
        self.settings = settings
        self.policy = policy or PolicySettings()
        self.counters = Counters()
        self.zones = ZoneTable()
        self.newest: NDArray[np.int64] = np.full((3, 1), -(1 << 60), np.int64)
        self.seen = [SeenSet(settings.dedupe_window) for _ in range(3)]
        self._index = new_places(0)
        self._people_count = np.zeros(1, np.int64)
        self.people = np.zeros(64, RECIPIENT)
        self.changed = np.zeros(64, np.uint8)
        self.clients, self.profiles = Codes(1), Codes(2)
        self.rhythm = np.zeros((64, RHYTHM), np.uint8)
        self.waiting = np.zeros((64, WAITING), np.uint16)
        self.pending = np.zeros(64, PENDING)
        self.content = np.zeros((64, CONTENT), np.float32)
        self.creatives = CreativeTable()
        self._pending_free = np.array([NONE, 0], np.int64)
        self._by_identity = new_table(0)
        self.due = DueRing(settings.horizon_ms)
        self.orphans = np.zeros(64, ORPHAN)
        self._orphan_free = np.array([NONE, 0], np.int64)
        self._by_message = new_table(0)
        self._purge_at = _ORPHANS_BEFORE_PURGE
        self._erased: list[int] = []

    # -- the three topics -------------------------------------------------------------------------

    def apply_sends(self, batch: SendBatch, emit: bool = True) -> Outcome:
        """Apply rows of `email.sends`: exposures now, labels of those already due."""
        n = len(batch)
        self._room_for_people(n)
        self._room_for_pending(n)
        self.creatives.add(batch.creatives, self.pending)
        hours, _ = self.zones.local_hours(batch.event_time_ms, batch.zone)
        buckets = np.zeros(n, np.uint8)
        placed = self._place_sends(batch, hours, buckets)
        self.counters.add(SENDS, batch, buckets)
        outcome = self._outcome(buckets)
        if batch.erase.any():
            self.mark_erased()
        rows = placed[placed != NONE]
        rows = rows[self.pending["identity"][rows] != 0]
        if len(rows):
            self.due.note(self.pending[rows])
            if emit:
                outcome.exposures = self._examples(rows, labelled=False)
        outcome.labels = self._retire(emit)
        self._purge_orphans()
        return outcome

    def _place_sends(self, batch: SendBatch, hours: Any, buckets: NDArray[np.uint8]) -> Any:
        """Fill the rows' buckets; return the pending row of each, NONE for what is not applied."""
        placed = np.full(len(batch), NONE, np.int32)
        profiles = self.profiles.added(np.stack([batch.zone, batch.segment], axis=1))
        columns = (
            *(batch.identity, batch.client, self.clients.added(batch.client[:, None])),
            *(batch.recipient, batch.event_time_ms, batch.offset, profiles, batch.segment),
            *(batch.content, batch.creative, batch.erase, batch.provider),
        )
        for start, end, seen in self._parts(SENDS, len(batch)):
            admitted = send_rows(
                columns,
                hours,
                start,
                end,
                self.newest[SENDS],
                self.settings.sends_lateness_ms,
                self.settings.horizon_ms,
                self.settings.machine_within_ms,
                self.due.width_ms,
                seen,
                self._index,
                self.people,
                self._people_count,
                self.changed,
                self._base(),
                self.pending,
                self.content,
                self._pending_free,
                self._by_identity,
                self.due.heads,
                self.orphans,
                self._orphan_free,
                self._by_message,
                buckets,
                placed,
            )
            self.seen[SENDS].note(admitted)
        return placed

    def apply_engagements(self, batch: EngagementBatch, emit: bool = True) -> Outcome:
        """Apply rows of `email.engagements`; their watermark retires sends and labels them."""
        n = len(batch)
        self.orphans = grown(self.orphans, int(self._orphan_free[1]) + n)
        self._by_message = fitting(self._by_message, int(self._orphan_free[1]) + n)
        buckets = np.zeros(n, np.uint8)
        columns = (
            *(batch.identity, batch.client, self.clients.found(batch.client[:, None])),
            *(batch.recipient, batch.event_time_ms, batch.message, batch.kind, batch.machine),
        )
        for start, end, seen in self._parts(ENGAGEMENTS, n):
            admitted = engagement_rows(
                columns,
                start,
                end,
                self.newest[ENGAGEMENTS],
                self.settings.engagements_lateness_ms,
                self.settings.horizon_ms,
                self.settings.machine_within_ms,
                seen,
                self.seen[SENDS].tables(),
                self._index,
                self.people,
                self._people_count,
                self.changed,
                self.pending,
                self._by_identity,
                self.orphans,
                self._orphan_free,
                self._by_message,
                buckets,
                self.watermark(SENDS),
            )
            self.seen[ENGAGEMENTS].note(admitted)
        self.counters.add(ENGAGEMENTS, batch, buckets)
        outcome = self._outcome(buckets)
        outcome.labels = self._retire(emit)
        return outcome

    def apply_requests(self, batch: RequestBatch, emit: bool = True) -> Outcome:  # noqa: ARG002
        """Judge rows of `email.requests`; `Outcome.people` names each one's recipient or NONE."""
        n = len(batch)
        buckets, rows = np.zeros(n, np.uint8), np.full(n, NONE, np.int32)
        client = self.clients.found(batch.client[:, None])
        columns = (batch.identity, client, batch.recipient, batch.event_time_ms)
        for start, end, seen in self._parts(REQUESTS, n):
            admitted = request_rows(
                columns,
                start,
                end,
                self.newest[REQUESTS],
                self.settings.requests_lateness_ms,
                seen,
                self._index,
                self.people,
                self._people_count,
                buckets,
                rows,
            )
            self.seen[REQUESTS].note(admitted)
        self.counters.add(REQUESTS, batch, buckets)
        outcome = self._outcome(buckets)
        outcome.people = rows
        return outcome

    def watermark(self, topic: int) -> int:
        """Time before which events of a topic are late."""
        lateness = (
            self.settings.sends_lateness_ms,
            self.settings.engagements_lateness_ms,
            self.settings.requests_lateness_ms,
        )[topic]
        return int(self.newest[topic, 0]) - lateness

    # -- what changed, what is known ---------------------------------------------------------

    def take_changed(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Recipients whose records changed since the last call: rows, and which had an event."""
        rows = np.flatnonzero(self.changed[: self.recipients]).astype(np.int32)
        heard = self.changed[rows] == HEARD
        self.changed[rows] = 0
        return rows, heard

    def mark_changed(self, rows: NDArray[np.int32], heard: Any = False) -> None:
        """Put back what could not be written; heard: as `take_changed` gave it."""
        why = np.where(heard, HEARD, SETTLED)
        why = np.maximum(why, self.changed[rows])  # an event may have come since
        self.changed[rows] = np.where(self.people["erased"][rows], 0, why)

    def mark_all_changed(self) -> None:
        """Let the next takes hold everybody: what had been written is no longer there."""
        self.mark_changed(np.arange(self.recipients, dtype=np.int32))
        self.mark_erased()
        self.counters.mark_changed()

    def take_erased(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(client hashes, (n, 2) ids) erased since the last call."""
        rows = np.unique(np.array(self._erased, np.int64))
        self._erased = []
        return self._clients_of(rows), self._ids(rows)

    def mark_erased(self) -> None:
        """Let the next take hold all that were ever erased: to erase again is harmless."""
        self._erased = np.flatnonzero(self.people["erased"][: self.recipients]).tolist()

    @property
    def recipients(self) -> int:
        """Recipients known, erased ones included."""
        return int(self._people_count[0])

    def live(self, rows: NDArray[np.int32]) -> Live:
        """What is known of recipients now, everything pending included."""
        people = self.people[rows]
        newest_ms = people["newest_ms"]
        profile = self.profiles.rows[people["profile"]]
        history, machines = self._known(rows, newest_ms + 1)
        return Live(
            client=self._clients_of(rows),
            ids=self._ids(rows),
            segment=profile[:, 1],
            zone=profile[:, 0],
            newest_ms=newest_ms,
            evidence=evidence_of(
                rows, newest_ms, machines, self.people, *self._base(), self.pending, settled=False
            ),
            history=history,
        )

    def history_as_of(self, rows: NDArray[np.int32], times_ms: NDArray[np.int64]) -> Columns:
        """HISTORY_COLUMNS of recipients at given times."""
        return self._known(rows, times_ms)[0]

    # -- inside ------------------------------------------------------------------------------

    def _known(
        self, rows: NDArray[np.int32], times_ms: NDArray[np.int64]
    ) -> tuple[Columns, NDArray[np.bool_]]:
        """HISTORY_COLUMNS, and who opens like a machine."""
        within_ms = self.settings.machine_within_ms
        table, words, periods, machines = histories(
            rows, times_ms, self.people, self.pending, within_ms
        )
        columns = [*table.T, *words.T, periods]
        return dict(zip(HISTORY_COLUMNS, columns, strict=True)), machines

    def _parts(self, topic: int, n: int) -> Any:
        """Cut a batch where the seen-set changes generation."""
        start = 0
        while start < n:
            end = start + self.seen[topic].room(n - start)
            yield start, end, self.seen[topic].tables()
            start = end

    def _base(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        return self.rhythm, self.waiting

    def _room_for_people(self, rows: int) -> None:
        needed = self.recipients + rows
        self._index = fitting_places(self._index, self.people, self.recipients, needed)
        for name in ("people", "changed", "rhythm", "waiting"):
            setattr(self, name, grown(getattr(self, name), needed))

    def _room_for_pending(self, rows: int) -> None:
        needed = int(self._pending_free[1]) + rows
        self._by_identity = fitting(self._by_identity, needed)
        self.pending = grown(self.pending, needed)
        self.content = grown(self.content, needed)

    def _clients_of(self, rows: NDArray[Any]) -> NDArray[np.uint64]:
        return np.asarray(self.clients.rows[self.people["client"][rows], 0])

    def _ids(self, rows: NDArray[Any]) -> NDArray[np.uint64]:
        return np.stack([self.people["high"][rows], self.people["low"][rows]], axis=1)

    @staticmethod
    def _outcome(buckets: NDArray[np.uint8]) -> Outcome:
        applied, duplicate, late, erased = np.bincount(buckets, minlength=4).tolist()
        return Outcome(applied, duplicate, late, erased, buckets == 0)

    def _retire(self, emit: bool) -> Columns | None:
        """Label and retire what is due by the engagement watermark; return the label rows."""
        due_ms = self.watermark(ENGAGEMENTS) - self.settings.horizon_ms
        rows = self.due.to_label(due_ms, self.pending, self._pending_free, self._by_identity)
        labels = None
        if len(rows):
            labels = self._examples(rows, labelled=True)
            np.maximum.at(self.changed, self.pending["recipient"][rows], SETTLED)
            self._settle(rows[self.pending["labelled"][rows] == 0])
        waited = self.due.to_retire(due_ms, self.pending, self._pending_free, self._by_identity)
        self._settle(waited)
        return labels if emit else None

    def _settle(self, rows: NDArray[np.int32]) -> None:
        within_ms = self.settings.machine_within_ms
        tables = self.people, *self._base(), self.changed
        settle(rows, self.pending, self._pending_free, *tables, within_ms)

    def _examples(self, rows: NDArray[np.int32], *, labelled: bool) -> Columns:
        """EXAMPLE_COLUMNS of pending rows; client and segment are hashes still."""
        sends = self.pending[rows]
        owners = sends["recipient"]
        history, machines = self._known(owners, sends["sent_ms"])
        within_ms = self.settings.machine_within_ms
        end_ms = sends["sent_ms"] + self.settings.horizon_ms
        tables, client = (self.people, *self._base(), self.pending), self._clients_of(owners)
        drawn = self.policy.control_salt, self.policy.control_share
        controlled, group = control_groups(client, self._ids(owners), *drawn)
        as_of = owners, sends["sent_ms"], machines
        known = evidence_of(*as_of, *tables, settled=True) if labelled else None
        return {
            "origin": np.full(len(rows), self.number, np.uint16),
            "client": client,
            "segment": sends["segment"],
            "send_offset": sends["offset"],
            "sent_at_ms": sends["sent_ms"],
            "time_ms": end_ms if labelled else sends["sent_ms"],
            "hour_of_week": sends["hour"],
            **history,
            **(facts_of(sends, machines, within_ms) if labelled else no_facts(len(rows))),
            "arm": controlled.astype(np.uint8),
            "provider": sends["provider"],
            "group": group,
            "content": self.content[rows],
            "creative": sends["creative"] if labelled else np.zeros(len(rows), np.uint64),
            "evidence": travelling(known, len(rows)),
        }

    def _purge_orphans(self) -> None:
        """Free orphans whose send can no longer come; only when there are many."""
        used = int(self._orphan_free[1])
        if used < self._purge_at:
            return
        orphans = self.orphans[:used]
        gone = (orphans["message"] != 0) & (orphans["time_ms"] < self.watermark(SENDS))
        for row in np.flatnonzero(gone).tolist():
            drop_orphan(row, self.orphans, self._orphan_free, self._by_message)
        left = int((orphans["message"] != 0).sum())
        self._purge_at = used + max(_ORPHANS_BEFORE_PURGE, left)
