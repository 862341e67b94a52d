"""What labels teach: the propensities of each client, their quality, and its hours.

Every label row is predicted first and learned after (progressive validation), so its losses are
those of a model that had not seen it. A row's features use its client's running rates as they were
just before that row, wherever the row stands in a block. A bounced send teaches the bounce
propensity and nothing else: it was no exposure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.groups import GroupLift, GroupQuality, group_places
from sendtide.clients.quality import Quality
from sendtide.clients.roster import with_rows
from sendtide.clients.settings import ClientSettings
from sendtide.models.propensity import TARGETS, ClientRates
from sendtide.models.propensity_bank import PropensityBank
from sendtide.models.rhythm import POPULATION
from sendtide.models.send_time import HOURS, RHYTHM_COLUMNS, add_counts, teach_rhythms

__all__ = ["OPEN", "Learning", "Lesson"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Columns = Mapping[str, NDArray[Any]]

OPEN: Final = TARGETS.index("open")
_BOUNCE: Final = TARGETS.index("bounce")
_LABELS: Final = ("opened", "clicked", "unsubscribed", "complained", "bounced")
"""The column with each target's label, in the order of TARGETS."""
_ARM_COLUMNS: Final = ("arm", "group", "opened")
_CLIENT_TABLES: Final = ("exposures", "opens", "rhythms", "corrections")
_SEGMENT_TABLES: Final = (
    *("segment_exposures", "segment_opens", "segment_rhythms", "segment_corrections"),
)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Of the exposures among n label rows: which they are, and what they taught.

    x: features. predictions, facts: (exposures, targets). losses: log losses of the open.
    """

    exposed: NDArray[np.bool_]
    x: F64
    predictions: F64
    facts: NDArray[np.bool_]
    losses: F64


class Learning:
    """Models, losses and hour tables of a partition's clients; row 0 .. n - 1 as in the roster."""

    def __init__(self, settings: ClientSettings) -> None:
        self.targets = tuple(TARGETS.index(target) for target in settings.targets)
        self.bank = PropensityBank(settings.propensity)
        self.rates = ClientRates()
        self.quality = Quality(len(TARGETS))
        self.groups = GroupQuality(len(TARGETS))
        self.group_lift = GroupLift(settings.control_share, settings.control_salt)
        self.exposures: I64 = np.zeros((0, HOURS), np.int64)
        self.opens: I64 = np.zeros((0, HOURS), np.int64)
        self.rhythms: F64 = np.zeros((0, POPULATION))
        self.segment_rhythms: F64 = np.zeros((0, POPULATION))
        self.corrections: F64 = np.zeros((0, 2))
        self.segment_corrections: F64 = np.zeros((0, 2))
        self.segment_exposures: I64 = np.zeros((0, HOURS), np.int64)
        self.segment_opens: I64 = np.zeros((0, HOURS), np.int64)

    def grow(self, clients: int, segments: int) -> None:
        """Have room for so many rows."""
        self.bank.grow(clients)
        self.quality.grow(clients)
        self.groups.grow(clients)
        self.group_lift.grow(clients)
        self.rates.grow(clients)
        for name in _CLIENT_TABLES:
            setattr(self, name, with_rows(getattr(self, name), clients))
        for name in _SEGMENT_TABLES:
            setattr(self, name, with_rows(getattr(self, name), segments))

    def learned(self) -> I64:
        """Exposures with their labels learned, by client."""
        return self.rates.counts[:, 0]

    def expose(self, rows: I32, columns: Columns) -> tuple[F64, F64]:
        """Features of n sends whose fate is open, and P(open) of each; learns nothing."""
        x = self.rates.features(rows, columns, columns["content"])
        return x, self.bank.predict(rows, x, columns["time_ms"], 1)[:, OPEN]

    def predict(self, rows: I32, columns: Columns) -> F64:
        """(n, targets) probabilities of n sends; learns nothing."""
        x = self.rates.features(rows, columns, columns["content"])
        return self.bank.predict(rows, x, columns["time_ms"])

    def learn(self, rows: I32, segment_rows: I32, columns: Columns) -> Lesson:
        """Predict, score and learn n label rows in order, every target."""
        labels = np.stack([columns[name] != 0 for name in _LABELS], axis=1)
        exposed = ~labels[:, _BOUNCE]
        outcome = np.column_stack([exposed, labels[:, :2]]).astype(np.int64)
        x = self.rates.count(rows, columns, columns["content"], outcome)
        times = columns["time_ms"]
        sent = columns["hour_of_week"], columns["sent_at_ms"], columns["provider"]
        places = group_places(*sent)
        self.groups.begin(rows, columns["sent_at_ms"])
        predictions, losses = np.full(labels.shape, np.nan), np.zeros(len(rows))
        if _BOUNCE in self.targets:
            taught = rows, x, labels, times, places
            predictions[:, _BOUNCE], _ = self._teach(_BOUNCE, *taught)
        if not exposed.all():
            parts = rows, segment_rows, x, labels, times, places, predictions
            rows, segment_rows, x, labels, times, places, predictions = (
                part[exposed] for part in parts
            )
        taught = rows, x, labels, times, places
        for target in self.targets:
            if target != _BOUNCE:
                predictions[:, target], lost = self._teach(target, *taught)
                losses = lost if target == OPEN else losses
        self.group_lift.add(rows, places, *(columns[name][exposed] for name in _ARM_COLUMNS))
        hours = {name: columns[name][exposed] for name in RHYTHM_COLUMNS}
        self._teach_hours(rows, segment_rows, hours)
        return Lesson(exposed, x, predictions, labels, losses)

    def _teach_hours(self, rows: I32, segment_rows: I32, columns: Columns) -> None:
        """Count exposures by hour of the week, and let clients and segments learn of rhythms."""
        add_counts(rows, columns["hour_of_week"], columns["opened"], self.exposures, self.opens)
        before = self.learned() - np.bincount(rows, minlength=len(self.learned()))
        teach_rhythms(rows, columns, before, self.rhythms, self.corrections)
        named = segment_rows >= 0
        rows, mine = segment_rows[named], {name: c[named] for name, c in columns.items()}
        # A small segment is told what its client knows, so it need not hurry.
        had = np.zeros(len(self.segment_rhythms), np.int64)
        taught = self.segment_rhythms, self.segment_corrections
        teach_rhythms(rows, mine, had, *taught, all_until=0)
        tables = self.segment_exposures, self.segment_opens
        add_counts(rows, mine["hour_of_week"], mine["opened"], *tables)

    def _teach(
        self, target: int, rows: I32, x: F64, labels: NDArray[np.bool_], times: I64, places: I64
    ) -> tuple[F64, F64]:
        """Predictions and losses of one target's rows, which are then learned."""
        happened = np.ascontiguousarray(labels[:, target])
        predictions = self.bank.learn(target, rows, x, happened, times)
        losses = self.quality.add(rows, target, predictions, happened)
        self.groups.add(rows, target, places, predictions, losses, happened)
        return predictions, losses

    def told_of_groups(self, row: int) -> dict[str, NDArray[Any]]:
        """What travels of one client's groups."""
        hidden = self.groups.hidden(row, OPEN)
        told = self.groups.told(row, hidden)
        return told | self.group_lift.told(row, hidden, told["groups.places"])

    def all_hours(self) -> tuple[I64, I64]:
        """Exposures and opens by hour over all clients of the partition."""
        return self.exposures.sum(axis=0), self.opens.sum(axis=0)

    def snapshot(self, clients: int, segments: int) -> dict[str, NDArray[Any]]:
        """Copies of all tables, cut to the rows in use."""
        columns = {f"bank.{n}": c for n, c in self.bank.columns(slice(0, clients)).items()}
        columns |= {f"quality.{n}": c for n, c in self.quality.snapshot(clients).items()}
        columns |= self.rates.columns(slice(0, clients))
        columns |= self.groups.columns(slice(0, clients))
        columns |= self.group_lift.columns(slice(0, clients))
        for name in _CLIENT_TABLES:
            columns[name] = getattr(self, name)[:clients].copy()
        for name in _SEGMENT_TABLES:
            columns[name] = getattr(self, name)[:segments].copy()
        return columns

    def restore(self, columns: Columns) -> None:
        """Take over what `snapshot` gave."""

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {n.removeprefix(prefix): c for n, c in columns.items() if n.startswith(prefix)}

        self.bank.put(slice(0, len(columns["exposures"])), part("bank."))
        self.quality.restore(part("quality."))
        self.groups.restore(columns)
        self.group_lift.restore(columns)
        self.rates.put(slice(0, len(columns["exposures"])), columns)
        for name in (*_CLIENT_TABLES, *_SEGMENT_TABLES):
            setattr(self, name, columns[name].copy())
