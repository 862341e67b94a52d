"""The simulated provider makes valid, ordered, repeatable records whose truth is known."""

import dataclasses
import re
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from sendtide.chaos.recount import recount
from sendtide.events.errors import ConfigurationError
from sendtide.events.mailbox import provider_of
from sendtide.events.messages import ENGAGEMENT_KINDS, EngagementEvent, SendEvent, SendRequest
from sendtide.lab import Drift, Ledger, Scenario, Simulator, event_records, live
from sendtide.lab.clock import LocalClock
from sendtide.lab.messages import SUBJECTS, VARIANTS
from sendtide.lab.scenario import PROVIDER_SHARES, PROVIDERS, ZONES

DAY_MS = 86_400_000
START_MS = 1_767_571_200_000  # a Monday
SMALL = Scenario(seed=7, clients=20, recipients=800)
TYPES = {
    "email.sends": SendEvent,
    "email.engagements": EngagementEvent,
    "email.requests": SendRequest,
}


def history(scenario, *, days=14, records=20_000, ledger=None):
    simulator = Simulator(scenario, ledger)
    batches = list(simulator.history(START_MS, START_MS + days * DAY_MS, records))
    return simulator, batches


def decoded(batches):
    return [
        (topic, msgspec.json.decode(value, type=TYPES[topic]), key, timestamp)
        for batch in batches
        for topic, key, value, timestamp in batch
    ]


def test_every_record_is_valid_and_keyed_by_its_recipient():
    """Every record decodes as its topic's message, under its own key and at its own time."""
    _, batches = history(SMALL)

    for _, event, key, timestamp in decoded(batches):
        assert f"{event.client_id}:{event.recipient_id}".encode() == key
        assert event.event_time_ms == timestamp


def test_same_seed_gives_the_same_bytes_and_another_seed_others():
    """A scenario determines every byte; its seed matters."""
    first, again = [[list(b) for b in history(SMALL)[1]] for _ in range(2)]
    other = [list(b) for b in history(Scenario(seed=8, clients=20, recipients=800))[1]]

    assert first == again
    assert first != other


def test_event_times_never_fall_and_end_before_now():
    """A history is in event-time order over all topics and has nothing after its end."""
    _, batches = history(SMALL)
    times = np.concatenate([batch.timestamps_ms for batch in batches])

    assert np.all(np.diff(times) >= 0)
    assert times[0] >= START_MS
    assert times[-1] < START_MS + 14 * DAY_MS


def test_counted_stream_has_exactly_the_count_asked_for():
    """`event_records` yields exactly so many, with unique identities."""
    batches = list(event_records(45_678, SMALL, days=7))
    identities = {(topic, event.id) for topic, event, _, _ in decoded(batches)}

    assert sum(map(len, batches)) == 45_678
    assert len(identities) == 45_678


def test_send_records_are_as_long_as_real_webhooks():
    """A send takes 300 to 350 bytes, all optional fields of version 1.0 filled."""
    batch = next(event_records(2_000, SMALL))
    sizes = [len(value) for value in batch.by_topic()["email.sends"][1]]

    assert 300 <= np.mean(sizes) <= 350


def test_ledger_agrees_with_an_independent_recount_of_the_bytes():
    """The simulator's own ledger and the oracle count the same per recipient."""
    ledger = Ledger()
    simulator, batches = history(SMALL, ledger=ledger)
    found = recount(record for batch in batches for record in batch)
    counts = ledger.counts(len(simulator.population))
    high, low = simulator.population.identifier
    kinds = ["send", *ENGAGEMENT_KINDS, "request"]

    assert found.total()["applied"] == found.total()["in"] == counts.sum()
    for row in np.flatnonzero(counts.sum(axis=1)):
        client = simulator.clients[simulator.population.client[row]]
        seen = found.recipients[client, f"{int(high[row]):016x}{int(low[row]):016x}"]
        assert [seen[kind] for kind in kinds] == counts[row].tolist()


def test_ledger_rows_name_the_events_in_the_records():
    """Each ledger row's ordinal leads to the id, and its send to the message id, in the bytes."""
    ledger = Ledger()
    simulator, batches = history(SMALL, records=3_000, ledger=ledger)
    rows = ledger.columns()
    engaged = rows["topic"] == 1
    ids = simulator.event_ids(rows["ordinal"])
    messages = simulator.event_ids(rows["send"][engaged])
    events = decoded(batches)

    assert sorted(ids) == sorted(event.id for _, event, _, _ in events)
    assert {*zip(np.array(ids)[engaged].tolist(), messages, strict=True)} == {
        (e.id, e.message_id) for t, e, _, _ in events if t == "email.engagements"
    }


def test_engagements_follow_a_known_send_of_the_same_recipient():
    """Every engagement names an earlier send to the same recipient; opens come within a week."""
    _, batches = history(SMALL)
    sends, seen = {}, 0
    for topic, event, key, timestamp in decoded(batches):
        if topic == "email.sends":
            sends[event.id] = (key, timestamp)
        elif topic == "email.engagements":
            owner, sent = sends[event.message_id]
            seen += 1
            assert owner == key
            assert sent < timestamp
            assert event.kind != "open" or timestamp - sent < 7 * DAY_MS

    assert seen > 5_000


def test_people_open_as_often_as_the_truth_says():
    """Human opens over many sends match the sum of the true probabilities to four sigma."""
    simulator = Simulator(SMALL)
    rng = np.random.default_rng(0)
    n = 100_000
    recipient, hour = rng.integers(0, 800, n), rng.integers(0, 168, n)
    truth = simulator.population.open_probability(recipient, hour)
    drawn = simulator._reactions.draw(rng, np.arange(n), recipient, np.zeros(n, np.int64), truth)
    human = (drawn.kind == 1) & (drawn.time_ms > 12_000)
    expected = truth.sum() * (1 - SMALL.bounce_share)

    # A few people open within twelve seconds and hide among the machines.
    assert abs(human.sum() - expected) < 4 * np.sqrt(expected) + 0.01 * expected


def test_never_openers_never_open_and_machines_open_at_once():
    """Never-openers have probability 0; machine opens come in seconds, a share of them marked."""
    scenario = Scenario(seed=3, clients=5, recipients=500, never_opener_share=1.0)
    _, batches = history(scenario)
    sends, delays, marks = {}, [], []
    for topic, event, _, timestamp in decoded(batches):
        if topic == "email.sends":
            sends[event.id] = timestamp
        elif topic == "email.engagements" and event.kind == "open":
            delays.append(timestamp - sends[event.message_id])
            marks.append(event.machine)

    assert len(delays) > 500
    assert max(delays) < 30_000
    assert 0.75 < np.mean([mark is True for mark in marks]) < 0.85
    assert {mark for mark in marks if mark is not True} == {None}


def test_client_sizes_are_zipf():
    """The largest client has the most recipients, every client at least one, and all are used."""
    population = Simulator(Scenario(clients=50, recipients=10_000)).population
    sizes = np.bincount(population.client, minlength=50)

    assert sizes.sum() == 10_000
    assert sizes.min() >= 1
    assert np.all(np.diff(sizes) <= 1)  # rounding may reorder neighbours of one size
    assert 1.8 < sizes[0] / sizes[1] < 2.5  # 2 ** 1.1 = 2.14


def test_rhythms_differ_and_the_best_hour_is_the_most_probable():
    """`best_hour` is where `open_probability` is largest, and people disagree about it."""
    population = Simulator(SMALL).population
    people = np.flatnonzero(~population.never_opens(np.arange(800)))
    best = population.best_hour(people)
    chance = population.open_probability(people, best)
    elsewhere = population.open_probability(people, (best + 12) % 168)

    assert np.all(chance > elsewhere)
    assert len(np.unique(best % 24)) > 8


@pytest.mark.parametrize("kind", ["opens", "content"])
def test_drift_changes_its_clients_from_its_moment_on_and_no_others(kind):
    """After the drift, affected clients open less or send longer texts; the rest stay."""
    moment = START_MS + 7 * DAY_MS
    drift = Drift(at_ms=moment, kind=kind, size=-3.0 if kind == "opens" else 1.0, client_share=0.5)
    scenario = Scenario(seed=5, clients=10, recipients=2_000, machine_share=0.0, drift=drift)
    simulator, batches = history(scenario, records=40_000)
    changes = {name: simulator.population.drifts[i] for i, name in enumerate(simulator.clients)}
    sends, opened = {}, set()
    for topic, event, _, timestamp in decoded(batches):
        if topic == "email.sends":
            sends[event.id] = (changes[event.client_id], timestamp >= moment, event.words)
        elif topic == "email.engagements" and event.kind == "open":
            opened.add(event.message_id)

    def mean(affected, after):
        group = [i for i, s in sends.items() if s[:2] == (affected, after)]
        return np.mean([i in opened if kind == "opens" else sends[i][2] for i in group])

    change = mean(True, True) / mean(True, False)
    assert change < 0.4 if kind == "opens" else change > 1.6
    assert 0.8 < mean(False, True) / mean(False, False) < 1.2


def test_live_keeps_the_rate_and_real_time_with_compressed_reactions():
    """Live records carry the clock's time, come at the rate, and opens arrive within the demo."""
    now = [1_790_000_000.0]

    def sleep(seconds):
        now[0] += seconds

    scenario = Scenario(seed=2, clients=10, recipients=500, reaction_speed=10_000)
    batches = []
    for batch in islice(live(Simulator(scenario), 500, clock=lambda: now[0], sleep=sleep), 300):
        assert all(timestamp <= now[0] * 1000 for timestamp in batch.timestamps_ms)
        batches.append(batch)
    kinds = [e.kind for t, e, _, _ in decoded(batches) if t == "email.engagements"]

    assert now[0] == pytest.approx(1_790_000_030, abs=0.5)
    assert 0.9 < sum(map(len, batches)) / 15_000 < 1.1
    assert kinds.count("open") > 500


def test_live_makes_up_for_a_slow_reader():
    """A reader that pauses gets the missed time in its next batch."""
    now = [1_790_000_000.0]
    batches = live(Simulator(SMALL), 200, clock=lambda: now[0], sleep=lambda _: None)
    next(batches)
    now[0] += 10.0

    assert 300 < len(next(batches)) < 2_500


@pytest.mark.parametrize("zone", ZONES)
def test_local_hours_are_right_on_both_sides_of_daylight_saving(zone):
    """The lab's clock agrees with zoneinfo over a year, hour by hour."""
    times = np.arange(START_MS, START_MS + 366 * DAY_MS, 5 * 3_600_000 + 60_000)
    found = LocalClock((zone,)).hour_of_week(np.zeros(len(times), np.uint8), times)
    local = [datetime.fromtimestamp(t / 1000, ZoneInfo(zone)) for t in times.tolist()]

    assert found.tolist() == [24 * moment.weekday() + moment.hour for moment in local]


@pytest.mark.parametrize(
    "wrong", [{"clients": 0}, {"clients": 10, "recipients": 9}, {"reaction_speed": 0.0},
              {"machine_share": 1.5}, {"source": 'a"b'}]
)  # fmt: skip
def test_impossible_scenarios_are_refused(wrong):
    """A scenario that cannot be drawn says so at once."""
    with pytest.raises(ConfigurationError):
        Scenario(**wrong)


def test_a_step_without_sends_gives_what_is_due_and_nothing_else():
    """Empty steps are fine; waiting engagements come out at their time, whatever the steps."""
    whole, parts = Simulator(SMALL), Simulator(SMALL)
    end = START_MS + 30 * DAY_MS
    for simulator in (whole, parts):
        simulator.step(START_MS, START_MS + 1_000, 500)
    at_once = list(whole.step(START_MS + 1_000, end, 0))
    piecewise = []
    for start in range(START_MS + 1_000, end, DAY_MS // 3):
        piecewise += list(parts.step(start, min(start + DAY_MS // 3, end), 0))

    assert len(at_once) > 100
    assert [r[3] for r in at_once] == [r[3] for r in piecewise]
    assert len(whole.step(end, end + 1, 0)) == 0


def test_history_goes_over_into_live_without_a_gap():
    """What a history left waiting arrives in the live stream that follows."""
    simulator, batches = history(SMALL, days=2, records=5_000)
    sent = {e.id for t, e, _, _ in decoded(batches) if t == "email.sends"}
    now = [(START_MS + 2 * DAY_MS) / 1000]

    def sleep(_):
        now[0] += 3_600

    later = islice(live(simulator, 0.0, clock=lambda: now[0], sleep=sleep), 48)
    opens = [e for _, e, _, _ in decoded(later) if e.kind == "open"]

    assert len(opens) > 20
    assert {e.message_id for e in opens} <= sent


def test_told_content_is_valid_and_moves_the_opens_as_it_says():
    """Each subject's and variant's log-odds of an open follow the truth."""
    scenario = Scenario(
        seed=3, clients=4, recipients=4_000, content_told=True, machine_share=0.0,
        never_opener_share=0.0, bounce_share=0.0, own_slot_share=0.0,
    )  # fmt: skip
    _, batches = history(scenario, days=20, records=120_000)
    events = [event for _, event, _, _ in decoded(batches)]
    opened = {e.message_id for e in events if isinstance(e, EngagementEvent) and e.kind == "open"}
    sends = [e for e in events if isinstance(e, SendEvent)]
    for told, truth in (
        (lambda e: e.subject, dict(SUBJECTS)),
        (lambda e: e.variant, {made.name: made.effect for made in VARIANTS}),
    ):
        rates = {}
        for name in truth:
            own = [e.id in opened for e in sends if told(e) == name]
            rates[name] = np.log(np.mean(own) / (1 - np.mean(own)))
        effect = np.array(list(truth.values()))
        found = np.array([rates[name] for name in truth])
        # The mean over unlike recipients draws effects together (Neuhaus and Jewell, 1993).
        assert np.corrcoef(found, effect)[0, 1] > 0.97
        assert 0.6 < np.polyfit(effect, found, 1)[0] < 1.0


def test_content_that_is_not_told_costs_no_byte():
    """Without it a scenario's records are as they were."""
    _, plain = history(SMALL)
    assert not any(b'subject"' in value for batch in plain for _, _, value, _ in batch)


def test_mailbox_providers_are_told_in_their_shares_and_as_the_gate_names_them():
    """One for good for each recipient; the rest of the records is the same without them."""
    scenario = dataclasses.replace(SMALL, provider_told=True)
    _, batches = history(scenario)
    told, boxes = list(batches), {}
    for _, event, _, _ in decoded(told):
        if isinstance(event, SendEvent):
            boxes.setdefault(event.recipient_id, set()).add(event.mailbox_provider)
    assert all(len(names) == 1 for names in boxes.values())
    names = [name for (name,) in boxes.values()]
    assert {provider_of(name) for name in names} == set(PROVIDERS)
    shares = np.diff(PROVIDER_SHARES, prepend=0) / 100
    for name, share in zip(PROVIDERS, shares.tolist(), strict=True):
        assert abs(names.count(name) / len(names) - share) < 4 * (0.25 / len(names)) ** 0.5

    plain = [value for batch in history(SMALL)[1] for _, _, value, _ in batch]
    without = [
        re.sub(rb',"mailbox_provider":"[a-z.]+"', b"", value).replace(b'"1.2"', b'"1.0"', 1)
        for batch in told
        for _, _, value, _ in batch
    ]
    assert without == plain
