"""The models of a partition as others see them: summaries for pages, states for `ml.models`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.challengers import Challengers
from sendtide.clients.content import Content
from sendtide.clients.learning import OPEN, Learning
from sendtide.clients.loss_alarms import LossAlarms
from sendtide.clients.outcome import ClientSummary
from sendtide.clients.roster import Roster
from sendtide.clients.settings import ClientSettings
from sendtide.clients.watching import SERIES, Watching
from sendtide.models.propensity import TARGETS
from sendtide.models.registry import ALL_CLIENTS, ModelState
from sendtide.models.rhythm import PRIOR
from sendtide.models.send_time import day_factors, population_curve, population_shares
from sendtide.monitoring.psi import CONVENTION

__all__ = ["ModelBook"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class ModelBook:
    """A view of a partition's parts between two blocks; changes nothing."""

    number: int
    settings: ClientSettings
    roster: Roster
    learning: Learning
    watching: Watching
    loss_alarms: LossAlarms
    challengers: Challengers
    content: Content
    exposed: I64
    newest_ms: I64
    _segments_of: dict[int, list[int]] | None = field(default=None, init=False)
    _as_of_ms: int = field(init=False)
    _warned: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        # What is of all clients is found once: found for each of them it would grow as a square.
        self._as_of_ms = int(self.newest_ms.max(initial=0))
        self._warned = np.asarray(self.watching.alarms.warning().any(axis=1))

    def summaries(self, row: int) -> list[ClientSummary]:
        """All models of one client: send time, propensities, challengers, subject, variant."""
        propensities = [self.propensity(row, target) for target in self.learning.targets]
        return [self.send_time(row), *propensities, *self._standings(row), *self._contents(row)]

    def _standings(self, row: int) -> Iterator[ClientSummary]:
        for standing in self.challengers.standings(row):
            own = {**self._common(row), **asdict(standing), "model_version": standing.learned}
            yield ClientSummary(**own, open_rate=self._open_rate(row))

    def _contents(self, row: int) -> Iterator[ClientSummary]:
        for model, learned, _ in self.content.known(row):
            own = {**self._common(row), **self.content.measures(row, model)}
            own |= {"model": model, "learned": learned, "model_version": learned}
            yield ClientSummary(**own, open_rate=self._open_rate(row))

    def send_time(self, row: int) -> ClientSummary:
        """Hours of one client: what a recipient nothing is known of is told."""
        learning = self.learning
        seen = bool(learning.learned()[row])
        curve = self._client_curve(row) if seen else None
        return ClientSummary(
            model=self.settings.send_time_model,
            open_rate=self._open_rate(row),
            best_hour=int(curve.argmax()) if curve is not None else None,
            hour_scores=[round(p, 6) for p in curve.tolist()] if curve is not None else None,
            **self._common(row),
        )

    def propensity(self, row: int, target: int) -> ClientSummary:
        """Quality of one client's propensity; of opens also the drift."""
        learned = self.learning.quality.learned(row, target)
        watched = {"windows": int(self.watching.judged_windows[row]), **self._drift(row)}
        own = {**self._common(row), "learned": learned, "model_version": learned}
        return ClientSummary(
            model=self.settings.model_of(TARGETS[target]),
            predictions=int(self.exposed[row]),
            open_rate=self._open_rate(row),
            **self.learning.quality.measures(row, target),
            **own,
            **(watched if target == OPEN else {}),
        )

    def states(self, row: int) -> list[ModelState]:
        """All that travels of one client's models, with copies of their numbers."""
        learning = self.learning
        segments = self._segment_rows(row)
        hours = {
            "exposures": learning.exposures[row].copy(),
            "opens": learning.opens[row].copy(),
            "rhythms": learning.rhythms[row].copy(),
            "correction": learning.corrections[row, :1].copy(),
            "segment_rhythms": learning.segment_rhythms[segments],
            "segment_corrections": learning.segment_corrections[segments, 0],
            "segments": np.array([self.roster.segment_hash[s] for s in segments], np.uint64),
            "segment_exposures": learning.segment_exposures[segments],
            "segment_opens": learning.segment_opens[segments],
            "strength": np.array([self.settings.prior_strength]),
        }
        one = slice(row, row + 1)
        weights = learning.bank.columns(one)
        weights |= learning.rates.columns(one) | learning.told_of_groups(row)
        learned = int(learning.learned()[row])
        return [
            self._state(row, self.settings.send_time_model, "send_time", learned, hours),
            self._state(row, self.settings.propensity_model, "propensity", learned, weights),
            *(self._state(row, name, name, n, found) for name, n, found in self.content.known(row)),
        ]

    def all_clients(self) -> ModelState:
        """Hours over all clients of this partition."""
        exposures, opens = self.learning.all_hours()
        learned = int(self.learning.learned().sum())
        return ModelState(
            client_id=ALL_CLIENTS,
            model=self.settings.send_time_model,
            kind="send_time",
            model_version=learned,
            learned=learned,
            newest_event_ms=self._as_of_ms,
            origin=self.number,
            columns={
                "exposures": exposures,
                "opens": opens,
                "rhythms": self.learning.rhythms.sum(axis=0),
            },
        )

    def _state(
        self, row: int, model: str, kind: str, learned: int, columns: dict[str, NDArray[Any]]
    ) -> ModelState:
        return ModelState(
            client_id=self.roster.names[row],
            model=model,
            kind=kind,
            model_version=learned,
            learned=learned,
            newest_event_ms=int(self.newest_ms[row]),
            origin=self.number,
            columns=columns,
        )

    def _common(self, row: int) -> dict[str, Any]:
        learned = int(self.learning.learned()[row])
        return {
            "client_id": self.roster.names[row],
            "as_of_ms": self._as_of_ms,
            "newest_event_ms": int(self.newest_ms[row]),
            "model_version": learned,
            "events": int(self.exposed[row]),
            "learned": learned,
        }

    def _drift(self, row: int) -> dict[str, Any]:
        """The largest effect among the newest scores of each series; nothing before the first."""
        if self.watching.judged_windows[row] == 0:
            return {"drift_state": "firing"} if self.loss_alarms.firing(row) else {}
        series = int(self.watching.effects[row].argmax())
        firing = self.watching.alarms.firing[row].any() or self.loss_alarms.firing(row)
        warning = bool(self._warned[row])
        return {
            "drift": float(self.watching.effects[row, series]),
            "drift_p_value": float(self.watching.p_values[row, series]),
            "drift_feature": SERIES[series],
            "drift_convention": CONVENTION,
            "drift_state": "firing" if firing else "warning" if warning else "none",
        }

    def _open_rate(self, row: int) -> float | None:
        sends, opens, _ = self.learning.rates.counts[row].tolist()
        return opens / sends if sends else None

    def _client_curve(self, row: int) -> F64:
        learning, strength = self.learning, self.settings.prior_strength
        shares = population_shares(learning.rhythms[row], PRIOR, strength)
        counts = learning.exposures[row], learning.opens[row]
        factors = day_factors(*counts, float(learning.corrections[row, 0]))
        return population_curve(shares, factors)

    def _segment_rows(self, row: int) -> list[int]:
        if self._segments_of is None:
            self._segments_of = {}
            for segment, client in enumerate(self.roster.segment_client):
                self._segments_of.setdefault(client, []).append(segment)
        return self._segments_of.get(row, [])
