"""A simulated e-mail service provider: a seeded stream of records with a known truth.

    Population (who)  ->  step(start, end, sends): sends, requests, reactions due  ->  Records

Nothing here talks to a broker. The same scenario and the same steps give the same bytes.
Limit: a step holds its rows in memory; engagements not yet due wait in a carry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.messages import CONTENT_LIMITS, ENGAGEMENT_KINDS
from sendtide.events.topics import ENGAGEMENTS, REQUESTS, SENDS
from sendtide.events.wire import Records, RowWriter, cut, hexadecimal, hundredths, literal, number
from sendtide.events.wire import text as spelled
from sendtide.lab import messages
from sendtide.lab.agents import AGENTS
from sendtide.lab.clock import HOUR_MS, LocalClock
from sendtide.lab.ledger import Ledger
from sendtide.lab.population import Population, mixed
from sendtide.lab.reactions import Engagements, Queue, Reactions
from sendtide.lab.scenario import PROVIDERS, SEGMENTS, ZONES, Scenario

__all__ = ["Simulator", "event_records", "live"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_TOPICS: Final = (SENDS.name, ENGAGEMENTS.name, REQUESTS.name)
_CAMPAIGN_MS: Final = 2 * 86_400_000  # a client's content changes every two days
_WINDOW_MS: Final = 24 * HOUR_MS  # the send window that requests ask about
_STEP_RECORDS: Final = 20_000
_NO_ROWS: Final = (b"", np.zeros(0, np.int64))
_START_MS: Final = 1_767_571_200_000  # 2026-01-05T00:00Z, a Monday: where counted streams begin


class Simulator:
    """Steps through event time; `ledger`, if given, is told of every record made.

    `reaction_speed` may be changed between steps: a real-time history, then a quick demo.
    """

    def __init__(self, scenario: Scenario, ledger: Ledger | None = None) -> None:
        self.scenario = scenario
        self.population = Population(scenario)
        self._ledger = ledger
        self._rng = np.random.default_rng([scenario.seed, 2])
        self._clock = LocalClock(ZONES)
        self._reactions = Reactions(scenario, self.population)
        self._waiting = Queue()
        self.reaction_speed = scenario.reaction_speed
        self._ordinal = 0
        self._clients = [f"client-{i:05d}" for i in range(scenario.clients)]
        self._writers = _writers(scenario, self._clients)
        self._slot_order, self._slot_ends = self._slots()
        self.records_per_send = self._records_per_send()

    @property
    def clients(self) -> list[str]:
        """Client names; a recipient's client is `clients[population.client[recipient]]`."""
        return self._clients

    def event_ids(self, ordinals: I64) -> list[str]:
        """Ids, as in the records, of the events with these ordinals (as in the ledger)."""
        return [f"m-{identifier:016x}" for identifier in self._identifiers(ordinals).tolist()]

    def step(self, start_ms: int, end_ms: int, sends: int) -> Records:
        """Records of [start_ms, end_ms) in order of event time, with `sends` new messages.

        Engagements due before `end_ms` are among them, later ones wait for a later step.
        Steps must not overlap nor go back in time.
        """
        rng = self._rng
        sent_at_ms = np.sort(rng.integers(start_ms, max(end_ms, start_ms + 1), sends))
        recipient = self._recipients(sent_at_ms)
        send = self._ordinals(sends)
        content, log_odds, campaign = self._content(recipient, sent_at_ms)
        if self.scenario.content_told:
            log_odds = log_odds + messages.effects(*messages.draw(send, self.scenario.seed))
        hours = self._clock.hour_of_week(self.population.zone[recipient], sent_at_ms)
        p_open = self.population.open_probability(recipient, hours, log_odds)
        self._waiting.put(
            self._reactions.draw(rng, send, recipient, sent_at_ms, p_open, self.reaction_speed)
        )
        due = self._waiting.take(end_ms)
        asks = np.flatnonzero(rng.random(sends) < self.scenario.request_share)
        parts = [
            self._send_rows(send, recipient, sent_at_ms, campaign, content),
            self._engagement_rows(due),
            self._request_rows(recipient[asks], sent_at_ms[asks]),
        ]
        return self._records(parts, [sent_at_ms, due.time_ms, sent_at_ms[asks]],
                             [recipient, due.recipient, recipient[asks]])  # fmt: skip

    def history(self, start_ms: int, end_ms: int, records: int) -> Iterator[Records]:
        """About `records` records from `start_ms` to `end_ms`, none after it, in event-time order.

        What would only happen after `end_ms` stays waiting: a later `step` goes on from there.
        """
        steps = max(1, round(records / _STEP_RECORDS))
        edges = np.linspace(start_ms, end_ms, steps + 1).astype(np.int64).tolist()
        sends = np.linspace(0, records / self.records_per_send, steps + 1).astype(np.int64)
        for a, b, count in zip(edges[:-1], edges[1:], np.diff(sends).tolist(), strict=True):
            yield self.step(a, b, count)

    def sends_to(self, recipients: I64, sent_at_ms: I64) -> Records:
        """One message to each of these recipients, at rising times, and no reaction to any."""
        send = self._ordinals(len(recipients))
        content, _, campaign = self._content(recipients, sent_at_ms)
        rows = self._send_rows(send, recipients, sent_at_ms, campaign, content)
        return self._records([rows, _NO_ROWS, _NO_ROWS], [sent_at_ms], [recipients])

    def requests_for(self, recipients: I64, asked_at_ms: I64) -> Records:
        """One request for each of these recipients, at rising times."""
        rows = self._request_rows(recipients, asked_at_ms)
        return self._records([_NO_ROWS, _NO_ROWS, rows], [asked_at_ms], [recipients])

    def _ordinals(self, count: int) -> I64:
        first, self._ordinal = self._ordinal, self._ordinal + count
        return np.arange(first, self._ordinal)

    def _identifiers(self, ordinals: I64) -> U64:
        return mixed(ordinals, self.scenario.seed * 4 + 3)

    def _slots(self) -> tuple[I64, I64]:
        """Recipients grouped by the UTC hour in which their client likes to send."""
        offsets = self._clock.hour_of_week(
            self.population.zone_of_client.astype(np.uint8),
            np.full(self.scenario.clients, _START_MS),
        )
        utc = (self.population.slot_of_client - offsets) % 24
        slot = utc[self.population.client]
        ends = np.searchsorted(np.sort(slot), np.arange(25))
        return np.argsort(slot, kind="stable"), ends.astype(np.int64)

    def _recipients(self, sent_at_ms: I64) -> I64:
        n, rng = len(sent_at_ms), self._rng
        anyone = rng.integers(0, len(self.population), n)
        hour = sent_at_ms // HOUR_MS % 24
        first, size = self._slot_ends[hour], np.diff(self._slot_ends)[hour]
        in_slot = self._slot_order[
            np.minimum(first + (rng.random(n) * size).astype(np.int64), len(self.population) - 1)
        ]
        own = (rng.random(n) < self.scenario.own_slot_share) & (size > 0)
        return np.where(own, in_slot, anyone)

    def _drifted(self, recipient: I64, time_ms: I64) -> NDArray[np.bool_]:
        drift = self.scenario.drift
        if drift is None:
            return np.zeros(len(recipient), np.bool_)
        return self.population.drifts[self.population.client[recipient]] & (time_ms >= drift.at_ms)

    def _content(self, recipient: I64, time_ms: I64) -> tuple[list[I64], NDArray[np.float64], I64]:
        """Return content measures, what they and drift add to the log-odds, and the campaign."""
        client = self.population.client[recipient].astype(np.int64)
        campaign = time_ms // _CAMPAIGN_MS
        dice = mixed(client * 1_000_003 + campaign, self.scenario.seed * 4)
        grown, log_odds = np.ones(len(recipient)), np.zeros(len(recipient))
        drift, drifted = self.scenario.drift, self._drifted(recipient, time_ms)
        if drift is not None and drift.kind == "content":
            grown[drifted] = 1 + drift.size
        elif drift is not None:
            log_odds[drifted] = drift.size
        shares = [(dice >> np.uint64(10 * i)) % np.uint64(1000) for i in range(len(CONTENT_LIMITS))]
        ranges = ((20, 70), (100, 700), (3, 30), (0, 12), (0, 6))
        measures = [
            low + (share.astype(np.int64) * span) // 1000
            for share, (low, span) in zip(shares, ranges, strict=True)
        ]
        for i, limit in enumerate((CONTENT_LIMITS["subject_length"], CONTENT_LIMITS["words"])):
            measures[i] = np.clip((measures[i] * grown).astype(np.int64), 0, limit)
        log_odds = log_odds - 0.01 * (measures[0] - 55) - 0.0005 * (measures[1] - 450)
        return measures, log_odds, campaign

    def _common(self, recipient: I64) -> tuple[I64, U64, U64]:
        high, low = self.population.identifier
        return self.population.client[recipient].astype(np.int64), high[recipient], low[recipient]

    def _send_rows(
        self, send: I64, recipient: I64, time_ms: I64, campaign: I64, content: list[I64]
    ) -> tuple[bytes, I64]:
        if self._ledger:
            self._ledger.sends(send, recipient)
        if self.scenario.provider_told:
            content = [self.population.provider[recipient].astype(np.int64), *content]
        if self.scenario.content_told:
            content = [*content, *messages.columns(*messages.draw(send, self.scenario.seed))]
        return self._writers[0].write(
            self._identifiers(send),
            *self._common(recipient),
            time_ms,
            campaign,
            self.population.segment[recipient],
            self.population.zone[recipient],
            *content,
        )

    def _engagement_rows(self, due: Engagements) -> tuple[bytes, I64]:
        ordinals = self._ordinals(len(due))
        if self._ledger:
            self._ledger.engagements(ordinals, due.send, due.recipient, due.kind)
        return self._writers[1].write(
            self._identifiers(ordinals),
            *self._common(due.recipient),
            due.time_ms,
            self._identifiers(due.send),
            due.kind,
            due.machine,
            due.revenue,
            *([due.agent] if self.scenario.agents_told else []),
        )

    def _request_rows(self, recipient: I64, time_ms: I64) -> tuple[bytes, I64]:
        ordinals = self._ordinals(len(recipient))
        if self._ledger:
            self._ledger.requests(ordinals, recipient)
        return self._writers[2].write(
            self._identifiers(ordinals),
            *self._common(recipient),
            time_ms,
            time_ms,
            time_ms + _WINDOW_MS,
            self.population.zone[recipient],
            self.population.segment[recipient],
        )

    def _records(
        self, parts: list[tuple[bytes, I64]], times: list[I64], recipients: list[I64]
    ) -> Records:
        """Merge the topics' rows by event time; at equal times sends come first."""
        data = b"".join(rows for rows, _ in parts)
        bases = np.cumsum([0, *(len(rows) for rows, _ in parts)])
        ends = np.concatenate([end + base for (_, end), base in zip(parts, bases, strict=False)])
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        time_ms = np.concatenate(times)
        order = np.argsort(time_ms, kind="stable")
        topic = np.repeat(np.arange(3, dtype=np.uint8), [len(end) for _, end in parts])
        return Records(
            topics=_TOPICS,
            topic=topic[order],
            keys=self._writers[3].rows(*self._common(np.concatenate(recipients)[order])),
            values=list(cut(data, starts[order], ends[order])),
            timestamps_ms=time_ms[order],
        )

    def _records_per_send(self) -> float:
        """Estimate of how many records one send makes in the end, itself included."""
        rng = np.random.default_rng([self.scenario.seed, 3])
        n = 20_000
        recipient = rng.integers(0, len(self.population), n)
        p_open = self.population.open_probability(recipient, rng.integers(0, 168, n))
        drawn = self._reactions.draw(rng, np.arange(n), recipient, np.zeros(n, np.int64), p_open)
        return 1 + len(drawn) / n + self.scenario.request_share


def _writers(scenario: Scenario, clients: list[str]) -> list[RowWriter]:
    """Writers of sends, engagements, requests and keys."""
    version = "1.2" if scenario.provider_told else "1.1" if scenario.content_told else "1.0"
    head, told, reacted = (
        [literal(f'{{"version":"{version}","source":"{scenario.source}"'), hexadecimal(',"id":"m-')]
        for version in ("1.0", version, "1.1" if scenario.agents_told else "1.0")
    )
    who = [
        spelled('","client_id":"', clients),
        hexadecimal('","recipient_id":"'),
        hexadecimal(""),
        number('","event_time_ms":'),
    ]
    place = [spelled(',"segment":"', SEGMENTS), spelled('","timezone":"', ZONES), literal('"')]
    content = [number(f',"{name}":') for name in CONTENT_LIMITS]
    content += messages.message_fields() if scenario.content_told else []
    box = [spelled(',"mailbox_provider":"', PROVIDERS), literal('"')]
    content = [*box, *content] if scenario.provider_told else content
    sends = [*told, *who, number(',"campaign_id":"campaign-'), literal('"'), *place, *content]
    agents = [spelled(',"user_agent":"', [f'{agent}"' for agent in AGENTS])]
    engagements = [
        *reacted,
        *who,
        hexadecimal(',"message_id":"m-'),
        spelled('","kind":"', ENGAGEMENT_KINDS),
        literal('"'),
        spelled(',"machine":', ("false", "true")),
        hundredths(',"revenue":'),
        *(agents if scenario.agents_told else []),
    ]
    window = [number(',"window_start_ms":'), number(',"window_end_ms":')]
    asked = [spelled(',"timezone":"', ZONES), spelled('","segment":"', SEGMENTS), literal('"')]
    close = literal("}")
    keys = [spelled("", clients), hexadecimal(":"), hexadecimal("")]
    rows = [[*sends, close], [*engagements, close], [*head, *who, *window, *asked, close], keys]
    return [RowWriter(fields) for fields in rows]


def event_records(
    count: int, scenario: Scenario | None = None, *, start_ms: int = _START_MS, days: float = 56.0
) -> Iterator[Records]:
    """Exactly `count` records in order of event time, spread over about `days`; for benches."""
    simulator = Simulator(scenario or Scenario())
    length_ms = round(days * 86_400_000 * _STEP_RECORDS / max(count, _STEP_RECORDS))
    sends = max(1, round(min(count, _STEP_RECORDS) / simulator.records_per_send))
    at_ms, left = start_ms, count
    while left > 0:
        records = simulator.step(at_ms, at_ms + length_ms, sends).first(left)
        at_ms += length_ms
        left -= len(records)
        yield records


def live(
    simulator: Simulator,
    events_per_s: float,
    *,
    tick_s: float = 0.1,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Records]:
    """Records as they happen, in real time, without end; at most one batch per `tick_s`.

    The reader sets the pace when it is slower: the next batch then covers the time gone by, so
    the rate holds on average. `clock` and `sleep` are in seconds.
    """
    last_ms, owed = round(clock() * 1000), 0.0
    while True:
        sleep(max(0.0, last_ms / 1000 + tick_s - clock()))
        now_ms = max(round(clock() * 1000), last_ms)
        owed += (now_ms - last_ms) / 1000 * events_per_s / simulator.records_per_send
        sends, owed = int(owed), owed % 1.0
        yield simulator.step(last_ms, now_ms, sends)
        last_ms = now_ms
