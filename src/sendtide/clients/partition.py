"""Stage B's logic for one partition of `ml.examples`: from blocks to models and judgements.

    block -> rows seen for the first time -> rows of clients
        labels    -> predict, score, learn -> hours, loss alarms, challengers, content, lift
        exposures -> predict -> references or windows -> drift alarms

All state is a function of the rows in the topic's order: how they were cut into blocks, and which
were repeated, makes no difference. A model's version is the number of labels it has learned, so
that a replay gives the same version to the same model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.challengers import Challengers
from sendtide.clients.content import Content
from sendtide.clients.learning import OPEN, Learning
from sendtide.clients.lift import LIFT_COLUMNS, LiftCounts, LiftSummary
from sendtide.clients.loss_alarms import LossAlarms
from sendtide.clients.messages import (
    drift_alerts,
    drift_metrics,
    failure_alert,
    loss_alert,
    promotion_alert,
)
from sendtide.clients.model_book import ModelBook
from sendtide.clients.outcome import ClientOutcome, ClientSummary, LearnedRows
from sendtide.clients.repeats import RepeatFilter
from sendtide.clients.roster import Roster, with_rows
from sendtide.clients.settings import ClientSettings
from sendtide.clients.watching import Watching
from sendtide.events.columns import pack
from sendtide.events.errors import CorruptData
from sendtide.events.examples import ExampleBlock
from sendtide.events.hashing import GROUPS
from sendtide.models.registry import ModelState
from sendtide.models.send_time import HOURS

__all__ = ["ClientPartition"]

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

_VERSION: Final = "8.0"
_PARTS: Final = (
    *("roster", "repeats", "learning", "loss_alarms", "watching", "challengers"),
    *("content", "lift"),
)


def _check(block: ExampleBlock) -> None:
    """Refuse what would address other rows' memory in the compiled loops."""
    named = ("send_offset", "hour_of_week", "group")
    offsets, hours, groups = (block.columns[name] for name in named)
    if len(block) and (offsets.min() < 0 or hours.max() >= HOURS or groups.max() >= GROUPS):
        msg = (
            f"example block has send offset {offsets.min()}, hour of week {hours.max()} or group "
            f"{groups.max()}; allowed: 0 and more, 0 to {HOURS - 1}, 0 to {GROUPS - 1}"
        )
        raise CorruptData(msg)


class ClientPartition:
    """All clients of one partition.

    Attributes:
        exposed: (clients,) exposures seen. newest_ms: (clients,) newest event time, 0 if none.
    """

    def __init__(self, number: int, settings: ClientSettings) -> None:
        self.number = number
        self.settings = settings
        self.roster = Roster()
        self.repeats = RepeatFilter()
        self.learning = Learning(settings)
        self.loss_alarms = LossAlarms(settings.adwin_delta)
        self.watching = Watching(settings)
        self.challengers = Challengers(settings.challengers)
        self.lift = LiftCounts(settings.control_share, settings.control_salt)
        self.content = Content()
        self.exposed: I64 = np.zeros(0, np.int64)
        self.newest_ms: I64 = np.zeros(0, np.int64)
        self._rows = (0, 0)
        # What has been handed out is no state: after a restore everything is handed out again.
        self._unsummarised: set[int] = set()
        self._unpublished: set[int] = set()
        self._unjudged: set[int] = set()
        self._versions: dict[bytes, int] = {}

    def apply(self, block: ExampleBlock) -> ClientOutcome:
        """Take one block.

        Raises:
            CorruptData: values no block can have; the state is as before.
        """
        _check(block)
        columns: Columns = block.columns
        fresh = self.repeats.first_time(columns["origin"], block.kind, columns["send_offset"])
        accepted = int(fresh.sum())
        outcome = ClientOutcome(accepted, len(block) - accepted)
        if accepted == 0:
            return outcome
        chosen = fresh & self._with_models(block)
        if not chosen.any():
            return outcome
        if not chosen.all():
            columns = {name: column[chosen] for name, column in columns.items()}
        rows = self.roster.client_rows(block.clients, columns["client"])
        if block.kind == "label":
            self._learn(block, rows, columns, outcome)
        else:
            self._expose(rows, columns, outcome)
        np.maximum.at(self.newest_ms, rows, columns["time_ms"])
        touched = np.unique(rows).tolist()
        self._unsummarised.update(touched)
        if block.kind == "label":
            self._unpublished.update(touched)
            self._unjudged.update(touched)
        return outcome

    def predict(self, block: ExampleBlock) -> NDArray[np.float64]:
        """(n, 5) propensities of a block's rows by what is known now, in the order of TARGETS.

        Clients that are met for the first time get rows; nothing else changes.

        Raises:
            CorruptData: values no block can have.
        """
        _check(block)
        columns: Columns = block.columns
        rows = self.roster.client_rows(block.clients, columns["client"])
        self._grow()
        return self.learning.predict(rows, columns)

    def _with_models(self, block: ExampleBlock) -> NDArray[np.bool_]:
        """Which rows are of clients that have models."""
        having = self.settings.clients
        if having is None:
            return np.ones(len(block), bool)
        has = np.array([name in having for name in block.clients], bool)
        return np.asarray(has[block.columns["client"]])

    def _grow(self) -> None:
        clients, segments = rows = len(self.roster.names), len(self.roster.segment_client)
        if rows == self._rows:
            return
        self._rows = rows
        self.learning.grow(clients, segments)
        self.loss_alarms.grow(clients)
        self.watching.grow(clients)
        self.lift.grow(clients)
        self.exposed = with_rows(self.exposed, clients)
        self.newest_ms = with_rows(self.newest_ms, clients)

    def _learn(
        self, block: ExampleBlock, rows: I32, columns: Columns, outcome: ClientOutcome
    ) -> None:
        segments = self.roster.segment_rows(rows, block.segments, columns["segment"])
        self._grow()
        lesson = self.learning.learn(rows, segments, columns)
        exposed, opened = lesson.exposed, lesson.facts[:, OPEN]
        self.lift.add(rows[exposed], {name: columns[name][exposed] for name in LIFT_COLUMNS})
        rows, times = rows[exposed], columns["time_ms"][exposed]
        base_rates, codes = lesson.predictions[:, OPEN], columns["creative"][exposed]
        self.content.learn(rows, block.creatives, codes, base_rates, opened)
        outcome.learned = LearnedRows(
            origin=columns["origin"][exposed].astype(np.int64),
            send_offset=columns["send_offset"][exposed],
            prediction=lesson.predictions[:, OPEN],
            label=opened.astype(np.uint8),
            propensities=lesson.predictions,
            facts=lesson.facts,
        )
        names = self.roster.names
        if "adwin" in self.settings.detectors:
            for change in self.loss_alarms.add(rows, times, lesson.losses):
                outcome.alerts.append(loss_alert(change, names[change.client_row], self.settings))
        taught = rows, times, lesson.x, opened, lesson.losses
        failures, advice = self.challengers.learn(*taught, names)
        outcome.alerts += [failure_alert(each, names[each.client_row]) for each in failures]
        outcome.alerts += [promotion_alert(each, names[each.client_row]) for each in advice]

    def _expose(self, rows: I32, columns: Columns, outcome: ClientOutcome) -> None:
        self._grow()
        self.exposed += np.bincount(rows, minlength=len(self.exposed))
        if "psi" not in self.settings.detectors:
            return
        x, predictions = self.learning.expose(rows, columns)
        content, learned = columns["content"], self.learning.learned()
        origins, times = columns["origin"], columns["time_ms"]
        for window in self.watching.add(origins, rows, times, x, content, predictions, learned):
            outcome.metrics += drift_metrics(window, self.roster.names, self.settings)
            outcome.alerts += drift_alerts(window, self.roster.names, self.settings)

    def _book(self) -> ModelBook:
        return ModelBook(
            number=self.number,
            settings=self.settings,
            roster=self.roster,
            learning=self.learning,
            watching=self.watching,
            loss_alarms=self.loss_alarms,
            challengers=self.challengers,
            content=self.content,
            exposed=self.exposed,
            newest_ms=self.newest_ms,
        )

    def summaries(self) -> list[ClientSummary]:
        """Newest numbers of all models of each client that had rows since the last call."""
        changed = sorted(self._unsummarised)
        self._unsummarised.clear()
        book = self._book()
        return [summary for row in changed for summary in book.summaries(row)]

    def mark_summaries_changed(self) -> None:
        """Let the next `summaries` hold every client again: the last could not be written."""
        self._unsummarised = set(range(len(self.roster.names)))

    def lifts(self) -> list[LiftSummary]:
        """Lifts of each client that had labels since the last call."""
        changed = sorted(self._unjudged)
        self._unjudged.clear()
        return self.lift.summaries(changed, self.roster.names)

    def mark_lifts_changed(self) -> None:
        """Let the next `lifts` hold every client again: the last could not be written."""
        self._unjudged = set(np.flatnonzero(self.learning.learned()).tolist())

    def mark_models_changed(self) -> None:
        """Let the next `take_models` hold every client again: the last could not be written."""
        self._unpublished = set(np.flatnonzero(self.learning.learned()).tolist())
        self._versions.clear()

    def take_models(self) -> list[ModelState]:
        """States of all models that learned since the last call, and `all`."""
        changed = sorted(self._unpublished)
        self._unpublished.clear()
        book = self._book()
        states = [s for row in changed for s in book.states(row)]
        states = [s for s in states if self._versions.get(s.key()) != s.model_version]
        self._versions |= {s.key(): s.model_version for s in states}
        return [*states, book.all_clients()] if changed else states

    def counts(self) -> dict[str, int]:
        """Rows by what became of them, since the beginning."""
        return {
            "exposures": int(self.exposed.sum()),
            "labels": int(self.learning.learned().sum()),
            "repeated": self.repeats.repeats,
            "forgotten": self.repeats.forgotten,
            "late_in_windows": self.watching.late,
        }

    def snapshot(self) -> tuple[dict[str, Any], Columns]:
        """The whole state as JSON-able meta and columns; arrays are copies."""
        clients, segments = len(self.roster.names), len(self.roster.segment_client)
        meta, roster = self.roster.snapshot()
        parts = {
            "roster": roster,
            "repeats": self.repeats.snapshot(),
            "learning": self.learning.snapshot(clients, segments),
            "loss_alarms": self.loss_alarms.snapshot(clients),
            "watching": self.watching.snapshot(clients),
            "challengers": self.challengers.snapshot(),
            "lift": self.lift.snapshot(clients),
            "content": self.content.snapshot(clients),
        }
        columns = {f"{p}.{n}": column for p in _PARTS for n, column in parts[p].items()}
        columns["exposed"] = self.exposed[:clients].copy()
        columns["newest_ms"] = self.newest_ms[:clients].copy()
        return {"version": _VERSION, "partition": self.number, **meta}, columns

    @classmethod
    def restore(
        cls,
        number: int,
        settings: ClientSettings,
        meta: Mapping[str, Any],
        columns: Mapping[str, NDArray[Any]],
    ) -> ClientPartition:
        """State out of a snapshot; all of it counts as changed.

        Raises:
            CorruptData: the snapshot is of another partition, version or set of series.
        """
        if (meta.get("partition"), meta.get("version")) != (number, _VERSION):
            msg = (
                f"snapshot is of partition {meta.get('partition')} in version "
                f"{meta.get('version')}; wanted partition {number} in version {_VERSION}"
            )
            raise CorruptData(msg)
        self = cls(number, settings)
        part = {
            p: {n.removeprefix(f"{p}."): c for n, c in columns.items() if n.startswith(f"{p}.")}
            for p in _PARTS
        }
        try:
            self.roster.restore(list(meta["clients"]), part["roster"])
            self.repeats.restore(part["repeats"])
            self.learning.restore(part["learning"])
            self.loss_alarms.restore(part["loss_alarms"])
            self.watching.restore(part["watching"])
            self.challengers.restore(part["challengers"])
            self.lift.restore(part["lift"])
            self.content.restore(part["content"])
            self.exposed, self.newest_ms = columns["exposed"].copy(), columns["newest_ms"].copy()
        except (KeyError, ValueError) as error:
            msg = f"snapshot of clients' partition {number} does not fit this build: {error!r}"
            raise CorruptData(msg) from error
        self._grow()
        self.mark_summaries_changed()
        self.mark_lifts_changed()
        self.mark_models_changed()
        return self

    def digest(self) -> str:
        """Hash of the state; equal for equal prefixes of the topic, however often rows came."""
        meta, columns = self.snapshot()
        kept = {name: c for name, c in columns.items() if not name.endswith(".tally")}
        return hashlib.blake2b(pack(meta, kept), digest_size=16).hexdigest()
