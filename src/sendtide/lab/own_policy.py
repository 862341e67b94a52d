"""Sendtide's own send time as a policy of the lab: the code the stages run, without Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients import ClientPartition, ClientSettings, LiftSummary
from sendtide.events.batch import EngagementBatch, Names, RequestBatch, SendBatch
from sendtide.events.creative import Creatives
from sendtide.events.hashing import hash_text
from sendtide.events.messages import CONTENT_FIELDS, ENGAGEMENT_KINDS
from sendtide.events.records import HOURS_PER_WEEK, SlotScores, intervals
from sendtide.events.texts import Texts
from sendtide.events.time import known_zones
from sendtide.lab.people import Outcomes, People
from sendtide.models import ModelDirectory
from sendtide.recipients import JoinSettings, PolicySettings, RecipientPartition, answers, blocks

__all__ = ["MachinesTold", "Sendtide"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
_HOUR_MS: Final = 3_600_000
_CLIENT: Final = "client"
_HORIZON_H: Final = 72
_UNTIL_LABELLED_H: Final = _HORIZON_H + 2
_MACHINE_WITHIN_MS: Final = 10_000
_LINKS: Final = 4
_MIDDLE_MS: Final = _HOUR_MS // 2
"""Messages leave in the middle of their hour."""


def _zone_of(hours: int) -> str:
    """Name of the zone with a fixed offset; its sign is reversed, as POSIX has it."""
    return f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"


@dataclass(frozen=True, slots=True)
class MachinesTold:
    """How machines that nothing marks were told from persons.

    acts: sends that only such a machine opened or scanned. caught: share of them in which no
    person was seen. human_opens: sends a person opened. discarded: share of them in which that was
    not seen.
    """

    acts: int
    caught: float
    human_opens: int
    discarded: float


class Sendtide:
    """One partition of recipients, one of clients, and the directory between them.

    Attributes:
        predicted, opened: of every send of learning, the probability told before and the outcome.
    """

    def __init__(self, people: People, explore_share: float, control_share: float) -> None:
        self._people = people
        policy = PolicySettings(explore_share=explore_share, control_share=control_share)
        join = JoinSettings(
            horizon_ms=_HORIZON_H * _HOUR_MS,
            sends_lateness_ms=48 * _HOUR_MS,
            engagements_lateness_ms=_HOUR_MS,
            requests_lateness_ms=_HOUR_MS,
            dedupe_window=1_000_000,
            machine_within_ms=_MACHINE_WITHIN_MS,
        )
        self._recipients = RecipientPartition(0, join, policy)
        settings = ClientSettings(detectors=frozenset(), control_share=control_share)
        self._clients = ClientPartition(0, settings)
        self._directory = ModelDirectory()
        self._names, self._sources = Names(), Names()
        self._names.learn(hash_text(_CLIENT), _CLIENT)
        self._sources.learn(hash_text("lab"), "lab")
        self._offsets = [0, 0, 0]
        known = {name: code for code, name in known_zones().items()}
        zones = [known[_zone_of(hours)] for hours in people.zone_hours.tolist()]
        self._zones = np.array(zones, np.uint64)
        self._told: F64 = np.zeros(people.n)
        self.predicted: list[F64] = []
        self.opened: list[NDArray[np.bool_]] = []
        self._machine: list[NDArray[np.bool_]] = []
        self._marked: list[NDArray[np.bool_]] = []
        self._labelled: list[int] = []
        self._person: list[int] = []

    def _common(self, topic: int, who: I64, time_ms: I64) -> dict[str, Any]:
        """Columns every batch has; an event's identity is its topic and offset."""
        n, first = len(who), self._offsets[topic]
        self._offsets[topic] += n
        offset = np.arange(first, first + n, dtype=np.int64)
        return {
            "offset": offset,
            "timestamp_ms": time_ms,
            "event_time_ms": time_ms,
            "identity": offset.astype(np.uint64) * np.uint64(4) + np.uint64(topic + 1),
            "source": np.full(n, hash_text("lab"), np.uint64),
            "client": np.full(n, hash_text(_CLIENT), np.uint64),
            "recipient": np.stack(
                [np.zeros(n, np.uint64), who.astype(np.uint64) + np.uint64(1)], 1
            ),
        }

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """Ask as a provider does, for the window of the slots; or take the best of the scores."""
        if not learning:
            return np.asarray(self.probabilities(slots)[0].argmax(axis=1))
        n, start = len(slots), slots[:, 0] * _HOUR_MS
        batch = RequestBatch(
            **self._common(2, np.arange(n), start),
            window_start_ms=start,
            window_end_ms=(slots[:, -1] + 1) * _HOUR_MS,
            zone=self._zones,
            segment=np.zeros(n, np.uint64),
            ids=Texts.of(str(i) for i in range(n)),
        )
        outcome = self._recipients.apply_requests(batch)
        parts = self._directory, self._names, self._sources
        told = answers(self._recipients, batch, outcome.people, *parts)
        self._told = told.slot_probability.astype(np.float64)
        return np.asarray(told.send_at_ms // _HOUR_MS - slots[:, 0])

    def probabilities(self, slots: I64) -> tuple[F64, F64, F64]:
        """P(open) of each of the (n, s) slots, and the ends of its interval."""
        found = self._scores()
        local = slots + self._people.zone_hours[:, None]
        week = (local + 72) % HOURS_PER_WEEK
        low, high = intervals(found.scores, found.deviations)
        picked = [np.take_along_axis(t, week, 1) for t in (found.scores, low, high)]
        return picked[0].astype(float), picked[1].astype(float), picked[2].astype(float)

    def lifts(self) -> list[LiftSummary]:
        """Opens and clicks of everybody beside the control group, as a dashboard would tell."""
        self._clients.mark_lifts_changed()
        return self._clients.lifts()

    def _scores(self) -> SlotScores:
        """Scores of everybody, in order of people."""
        live = self._recipients.live(np.arange(self._recipients.recipients, dtype=np.int32))
        order = np.argsort(live.ids[:, 1])
        return self._directory.slots(live.client[order], live.segment[order], live.evidence[order])

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:  # noqa: ARG002
        """Let sends and engagements come in, then models learn and travel."""
        self.predicted.append(self._told)
        self.opened.append(seen.opened)
        self._machine.append(seen.machine)
        self._marked.append(seen.marked & ~seen.scanned)
        n, sent_ms = len(sent), sent * _HOUR_MS + _MIDDLE_MS
        sends = SendBatch(
            **self._common(0, np.arange(n), sent_ms),
            zone=self._zones,
            segment=np.zeros(n, np.uint64),
            content=np.full((n, len(CONTENT_FIELDS)), np.nan, np.float32),
            creative=np.zeros(n, np.uint64),
            creatives=Creatives.none(),
            erase=np.zeros(n, np.uint8),
            provider=np.zeros(n, np.uint8),
        )
        self._carry(self._recipients.apply_sends(sends))
        self._engage(sent_ms, sends.identity, seen)
        self._let_time_pass(int(sent_ms.max()) + _UNTIL_LABELLED_H * _HOUR_MS)
        for state in self._clients.take_models():
            self._directory.apply(state.to_bytes())

    def _engage(self, sent_ms: I64, messages: NDArray[np.uint64], seen: Outcomes) -> None:
        """Machine opens, opens and clicks, in order of time."""
        delay_ms = np.nan_to_num(seen.delay_s * 1000).astype(np.int64)
        at_once_ms = (seen.machine_delay_s * 1000).astype(np.int64)
        scanned = seen.machine & seen.scanned
        kinds = [
            ("open", seen.machine & seen.marked, at_once_ms, 2),
            ("open", seen.machine & ~seen.marked, at_once_ms, 0),
            *(("click", scanned, at_once_ms + link * 200, 0) for link in range(_LINKS)),
            ("open", seen.opened, delay_ms, 1),
            ("click", seen.clicked, delay_ms + 30_000, 1),
        ]
        who, time_ms, kind, machine = [], [], [], []
        for name, mask, after_ms, flag in kinds:
            rows = np.flatnonzero(mask)
            who.append(rows)
            time_ms.append((sent_ms + after_ms)[rows])
            kind.append(np.full(len(rows), ENGAGEMENT_KINDS.index(name), np.uint8))
            machine.append(np.full(len(rows), flag, np.uint8))
        order = np.argsort(np.concatenate(time_ms), kind="stable")
        people = np.concatenate(who)[order]
        batch = EngagementBatch(
            **self._common(1, people, np.concatenate(time_ms)[order]),
            message=messages[people],
            kind=np.concatenate(kind)[order],
            machine=np.concatenate(machine)[order],
            revenue=np.zeros(len(order)),
        )
        self._carry(self._recipients.apply_engagements(batch))

    def _let_time_pass(self, until_ms: int) -> None:
        """An engagement of nobody's message: the watermark moves, horizons end."""
        common = self._common(1, np.zeros(1, np.int64), np.array([until_ms]))
        batch = EngagementBatch(
            **common,
            message=np.full(1, 3, np.uint64),
            kind=np.zeros(1, np.uint8),
            machine=np.zeros(1, np.uint8),
            revenue=np.zeros(1),
        )
        self._carry(self._recipients.apply_engagements(batch))

    def machines(self) -> MachinesTold:
        """How well machines were told from persons."""
        unmarked = ~np.concatenate(self._marked)
        opened, machine = np.concatenate(self.opened), np.concatenate(self._machine)
        person = np.zeros(len(opened), bool)
        person[self._labelled] = self._person
        alone, seen = (
            machine & unmarked & ~opened,
            opened & np.isin(np.arange(len(opened)), self._labelled),
        )
        return MachinesTold(
            acts=int(alone.sum()),
            caught=float((~person[alone]).mean()),
            human_opens=int(seen.sum()),
            discarded=float((~person[seen]).mean()),
        )

    def _carry(self, outcome: Any) -> None:
        """Take labels from recipients to clients."""
        if outcome.labels is not None:
            self._labelled += outcome.labels["send_offset"].tolist()
            self._person += (outcome.labels["opened"] | outcome.labels["clicked"]).tolist()
            tables = self._names, Names(), self._recipients.creatives.of(outcome.labels["creative"])
            for _, block in blocks(outcome.labels, "label", *tables, 1):
                self._clients.apply(block)
