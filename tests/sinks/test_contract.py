"""The laws of the read model, over every implementation of it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import redis

from sendtide.events.errors import ConfigurationError, Fenced
from sendtide.events.records import RECIPIENT_LAYOUT, decode_scores, encode_scores
from sendtide.sinks import (
    ClientLift,
    MemoryStore,
    ModelSummary,
    Owner,
    PartitionCounts,
    RecipientRows,
    RedisReader,
    RedisSink,
    Retention,
    SourceFreshness,
    StateRow,
    WorkerBeat,
)
from sendtide.sinks.layout import recipient_hex

NOW_MS = 1_790_000_600_000
OWNER = Owner("recipients", 3, 5)


@pytest.fixture(params=["memory", "valkey", "valkey-set", "redis"])
def store(request):
    """(sink, reader) of one implementation, empty."""
    if request.param == "memory":
        both = MemoryStore(now_ms=lambda: NOW_MS)
        yield both, both
        return
    fixture = "debian_redis_url" if request.param == "redis" else "valkey_url"
    url = request.getfixturevalue(fixture)
    redis.Redis.from_url(url).flushall()
    sink = RedisSink(url, use_msetex=False if request.param == "valkey-set" else None)
    reader = RedisReader(url, now_ms=lambda: NOW_MS)
    assert sink.uses_msetex is (request.param == "valkey")
    yield sink, reader
    sink.close()
    reader.close()


def asked(rows: RecipientRows) -> tuple[list[str], list[str]]:
    clients = [rows.clients[i] for i in rows.client_index]
    return clients, [digits.decode() for digits in recipient_hex(rows.recipients)]


def summary(client="acme", model="send_time", **more):
    base = {"as_of_ms": NOW_MS - 1000, "newest_event_ms": NOW_MS - 2500}
    return ModelSummary(client_id=client, model=model, **{**base, **more})


def lift(client="acme", metric="lift.open", **more):
    base = {"verdict": "no lift yet", "since_ms": NOW_MS - 9_000, "as_of_ms": NOW_MS - 1_000}
    return ClientLift(client_id=client, metric=metric, **{**base, **more})


def test_records_come_back_as_written(store, sample):
    """What was written is read back byte for byte, in the order asked."""
    sink, reader = store
    rows, records = sample

    sink.write_recipients(OWNER, rows, records)
    clients, ids = asked(rows)

    assert reader.records(clients[::-1], ids[::-1]).tobytes() == records[::-1].tobytes()


def test_unknown_recipients_are_marked(store, sample):
    """A recipient nobody wrote has layout 0 between others that are found."""
    sink, reader = store
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    clients, ids = asked(rows)

    answer = reader.records([clients[0], "acme", clients[1]], [ids[0], "0" * 32, ids[1]])

    assert answer["layout"].tolist() == [RECIPIENT_LAYOUT, 0, RECIPIENT_LAYOUT]
    assert answer["model_version"].tolist() == [0, 0, 1]


def test_client_is_part_of_the_key(store, sample):
    """The same recipient id of another client is another recipient."""
    sink, reader = store
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    clients, ids = asked(rows)
    other = next(name for name in rows.clients if name != clients[0])

    assert reader.recipient(other, ids[0]) is None


def test_older_epoch_is_fenced(store, sample):
    """A worker that lost its partition is told so and changes nothing."""
    sink, reader = store
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    older = records.copy()
    older["model_version"] += 100_000

    with pytest.raises(Fenced, match=r"epoch 4 .* epoch 5 has taken over"):
        sink.write_recipients(Owner("recipients", 3, 4), rows, older)

    clients, ids = asked(rows)
    assert reader.records(clients, ids).tobytes() == records.tobytes()


def test_every_kind_of_write_is_fenced(store, sample):
    """Summaries, freshness, counts and erasures of an older epoch are refused too."""
    sink, _ = store
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    old = Owner("recipients", 3, 4)
    fresh = SourceFreshness(
        client_id="acme", source="esp", partition=3, newest_event_ms=1, as_of_ms=2
    )
    counts = PartitionCounts(client_id="acme", topic="email.sends", partition=3, counts={"late": 1})

    for write, row in (
        (sink.write_models, summary()),
        (sink.write_lifts, lift()),
        (sink.write_freshness, fresh),
        (sink.write_counts, counts),
        (sink.write_states, StateRow(client_id="acme", kind="propensity", value=b"x")),
    ):
        with pytest.raises(Fenced):
            write(old, [row])
    with pytest.raises(Fenced):
        sink.erase_recipients(old, rows)


def test_states_are_read_back_and_replaced(store):
    """Each client's newest state of each kind, byte for byte; None where there is none."""
    sink, reader = store
    values = {f"client-{i}": bytes([i % 256]) * (i + 1) for i in range(250)}
    for end in (b"", b"\x00\xff"):
        rows = [
            StateRow(client_id=client, kind="propensity", value=value + end)
            for client, value in values.items()
        ]
        sink.write_states(OWNER, rows)
    assert reader.state("client-249", "propensity") == values["client-249"] + b"\x00\xff"
    assert reader.state("client-0", "propensity") == b"\x00\x00\xff"
    assert reader.state("client-0", "send_time") is None
    assert reader.state("nobody", "propensity") is None


def test_fences_are_per_partition_and_group(store, sample):
    """The epoch of one partition says nothing about another, nor about another group."""
    sink, reader = store
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)

    sink.write_recipients(Owner("recipients", 4, 1), rows, records)
    sink.write_models(Owner("clients", 3, 1), [summary()])

    assert len(reader.metrics()) == 1


def test_claimed_epochs_rise(store):
    """Whatever the clocks say, the next owner is above the last; one that comes late is not."""
    sink, _ = store
    first = sink.claim(OWNER)
    second = sink.claim(OWNER)
    assert (first, second) == (5, 6)

    sink.write_models(Owner("recipients", 3, second), [summary()])
    with pytest.raises(Fenced, match="epoch 6 has taken over"):
        sink.write_models(Owner("recipients", 3, first), [summary()])
    with pytest.raises(Fenced, match="too late"):
        sink.claim(Owner("recipients", 3, 6), late=True)
    assert sink.claim(Owner("recipients", 3, 7), late=True) == 7
    assert sink.claim(Owner("recipients", 4, 5), late=True) == 5


def test_who_takes_over_sees_when_the_one_before_wrote_last(store):
    """By the clock of who wrote; nothing is known where nobody has written."""
    sink, _ = store
    owner = replace(OWNER, epoch=sink.claim(OWNER))
    assert sink.left_ms(owner) is None
    began_ms = time.time_ns() // 1_000_000
    sink.write_models(owner, [summary()])
    ended_ms = time.time_ns() // 1_000_000
    heir = replace(OWNER, epoch=sink.claim(OWNER))
    assert began_ms <= sink.left_ms(heir) <= ended_ms


def copied(sink):
    """What a store holds, to be put back."""
    if isinstance(sink, MemoryStore):
        return dict(sink._epochs), dict(sink._sealed)
    server = sink._redis
    return {key: server.dump(key) for key in server.keys("*")}


def put_back(sink, copy):
    """The store as it was when it was copied, as after a failover."""
    if isinstance(sink, MemoryStore):
        sink._epochs, sink._sealed = map(dict, copy)
        return
    sink._redis.flushall()
    for key, value in copy.items():
        sink._redis.restore(key, 0, value)


@pytest.mark.parametrize("when", ["empty", "before the claim", "a write ago"])
@pytest.mark.parametrize("noticed_by", ["a look", "the next write"])
def test_a_store_that_has_forgotten_says_so_once(store, when, noticed_by):
    """Emptied, or back at any earlier state: until all is written anew no mark is of use."""
    sink, _ = store
    copies = {"empty": copied(sink)}
    sink.write_models(Owner("recipients", 3, 4), [summary()])
    copies["before the claim"] = copied(sink)
    owner = Owner("recipients", 3, sink.claim(OWNER))
    sink.write_models(owner, [summary()])
    copies["a write ago"] = copied(sink)
    sink.write_models(owner, [summary()])
    before = sink.mark(owner)
    assert sink.forgot([owner]) == []

    put_back(sink, copies[when])
    if noticed_by == "the next write":
        sink.write_models(owner, [summary()])

    assert sink.forgot([owner]) == [owner]
    assert sink.forgot([owner]) == []
    sink.write_models(owner, [summary()])
    heir = Owner("recipients", 3, sink.claim(replace(owner, epoch=9), before))
    assert sink.forgot([heir]) == [heir], "half a repair is none"
    assert sink.mark(heir) > before

    sink.write_models(heir, [summary()])
    sink.repaired(heir)
    after = sink.mark(heir)
    assert sink.forgot([heir]) == []
    last = Owner("recipients", 3, sink.claim(heir, after))
    assert sink.forgot([last]) == []


def test_a_partition_whose_state_remembers_more_than_the_store_is_forgotten(store):
    """Emptied while nobody held the partition: whoever takes it over is told."""
    sink, _ = store
    nothing = copied(sink)
    owner = Owner("recipients", 3, sink.claim(OWNER))
    sink.write_models(owner, [summary()])
    known = sink.mark(owner)
    put_back(sink, nothing)

    heir = Owner("recipients", 3, sink.claim(OWNER, known))

    assert sink.forgot([heir]) == [heir]


def test_a_write_into_a_store_that_has_forgotten_does_not_hide_it(store):
    """Had its writer died right after, the next owner would still find that something is gone."""
    sink, _ = store
    nothing = copied(sink)
    owner = Owner("recipients", 3, sink.claim(OWNER))
    sink.write_models(owner, [summary()])
    known = sink.mark(owner)
    put_back(sink, nothing)
    sink.write_models(owner, [summary()])

    heir = Owner("recipients", 3, sink.claim(owner, known))

    assert sink.forgot([heir]) == [heir]


def test_erased_recipients_are_gone(store, sample):
    """Erasure removes exactly the named recipients, twice is no mistake."""
    sink, reader = store
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    some = RecipientRows(
        clients=rows.clients,
        client_index=rows.client_index[:2],
        recipients=rows.recipients[:2],
    )

    sink.erase_recipients(OWNER, some)
    sink.erase_recipients(OWNER, some)

    clients, ids = asked(rows)
    assert reader.records(clients[:3], ids[:3])["layout"].tolist() == [0, 0, RECIPIENT_LAYOUT]


def test_no_rows_is_no_mistake(store, sample):
    """A batch without a change writes nothing and raises nothing."""
    sink, reader = store
    rows, records = sample
    none = RecipientRows(
        clients=rows.clients, client_index=rows.client_index[:0], recipients=rows.recipients[:0]
    )

    sink.write_recipients(OWNER, none, records[:0])
    sink.erase_recipients(OWNER, none)
    sink.write_models(OWNER, [])
    sink.write_lifts(OWNER, [])
    sink.write_counts(OWNER, [])

    assert reader.clients() == []
    assert reader.metrics() == []
    assert reader.workers() == []
    assert len(reader.records([], [])) == 0


def test_metrics_carry_freshness(store):
    """Freshness is the reader's now minus the newest event, and unknown numbers stay None."""
    sink, reader = store

    given = summary(drift=0.25, drift_feature="words", events=7, hour_scores=[0.1, 0.2])
    sink.write_models(OWNER, [given])
    (row,) = reader.metrics("acme")

    assert row.freshness_s == 2.5
    assert not row.stale
    assert row.summary == given
    assert row.summary.auc is None


def test_number_that_became_unknown_is_removed(store):
    """A drift that is no longer known does not linger as its last value."""
    sink, reader = store

    sink.write_models(OWNER, [summary(drift=0.25)])
    sink.write_models(OWNER, [summary()])

    assert reader.metrics("acme")[0].summary.drift is None


def test_a_lift_replaces_the_one_of_its_client_and_metric(store):
    """What became unknown is unknown again; other clients' and metrics' stay as they are."""
    sink, reader = store
    numbers = {"lift": 0.01, "low": -0.004, "high": 0.024, "control_sends": 70, "rest_rate": 0.3}
    others = [lift("b.co", **numbers), lift(metric="lift.click", **numbers)]
    sink.write_models(OWNER, [summary(), summary("b.co", as_of_ms=NOW_MS)])
    sink.write_lifts(OWNER, [lift(**numbers), *others])
    sink.write_lifts(OWNER, [lift()])

    assert reader.lifts("acme") == [others[1], lift()]
    assert reader.lifts("nobody") == []
    assert reader.lifts() == [others[0], others[1], lift()]
    assert reader.lifts(limit=1) == [others[0]]


def test_stale_models_say_so(store):
    """A model without events for longer than the limit is marked stale, never hidden."""
    sink, reader = store

    sink.write_models(OWNER, [summary(newest_event_ms=NOW_MS - 8 * 86_400_000)])

    assert reader.metrics("acme")[0].stale


def test_clients_by_activity(store):
    """Clients come newest first and only as many as asked for."""
    sink, reader = store

    rows = [summary(f"c{i}", as_of_ms=NOW_MS + i) for i in range(5)]
    sink.write_models(OWNER, rows)
    sink.write_models(OWNER, [summary("c4", as_of_ms=NOW_MS)])

    assert [row.client_id for row in reader.clients(3)] == ["c4", "c3", "c2"]
    assert [row.summary.client_id for row in reader.metrics(limit=2)] == ["c4", "c3"]


def test_more_models_than_one_chunk(store):
    """Thousands of models are written and read whole."""
    sink, reader = store
    rows = [summary(f"c{i}", m) for i in range(1_200) for m in ("open_propensity", "send_time")]

    sink.write_models(OWNER, rows)

    assert len(reader.metrics(limit=5_000)) == 2_400


def test_counts_are_absolute_and_add_up(store):
    """The same counts twice are no more than once; partitions add up."""
    sink, reader = store
    rows = [
        PartitionCounts(
            client_id=client, topic="email.sends", partition=p, counts={"applied": 10 + p}
        )
        for client in ("acme", None)
        for p in (0, 1)
    ]

    sink.write_counts(OWNER, rows)
    sink.write_counts(OWNER, rows)

    assert reader.counts("acme") == {"email.sends": {"applied": 21}}
    assert reader.totals() == {"email.sends": {"applied": 21}}
    assert reader.counts("nobody") == {}


def test_freshness_keeps_partitions_apart(store):
    """One row per source and partition; a later write replaces its own row only."""
    sink, reader = store

    def row(partition, newest):
        return SourceFreshness(
            client_id="acme",
            source="esp",
            partition=partition,
            newest_event_ms=newest,
            as_of_ms=newest,
            lag_p99_s=0.5,
        )

    sink.write_freshness(OWNER, [row(0, 1), row(1, 2)])
    sink.write_freshness(OWNER, [row(1, 3)])

    assert reader.freshness("acme") == [row(0, 1), row(1, 3)]


def test_workers_that_beat_are_alive(store):
    """A beat is read back with its numbers."""
    sink, reader = store
    beat = WorkerBeat(worker="w-1", at_ms=NOW_MS, started_at_ms=NOW_MS - 9, events_per_s=1234.5)

    sink.beat(beat)

    assert reader.workers() == [beat]


def test_names_cannot_forge_keys(store):
    """A client or recipient that could be mistaken for another key is refused."""
    sink, reader = store

    for client in ("a}:recipient", "", "a b", "é", "a:b", "a\n"):
        for read in (reader.metrics, reader.lifts, reader.freshness, reader.counts):
            with pytest.raises(ConfigurationError, match="cannot be part of a key"):
                read(client)
        with pytest.raises(ConfigurationError, match="cannot be part of a key"):
            reader.records([client], ["0" * 32])
        with pytest.raises(ConfigurationError, match="cannot be part of a key"):
            sink.write_models(OWNER, [summary(client)])
        with pytest.raises(ConfigurationError, match="cannot be part of a key"):
            sink.write_lifts(OWNER, [lift(client)])
    for recipient in ("a@b.com", "0" * 31, "A" * 32, "0" * 32 + "\n"):
        with pytest.raises(ConfigurationError, match="keyed hash of the address"):
            reader.records(["acme"], [recipient])


def test_values_expire(sample, valkey_url):
    """Every key written has a time to live, so that nothing grows without bound."""
    server = redis.Redis.from_url(valkey_url)
    server.flushall()
    sink = RedisSink(valkey_url, Retention(recipient_s=100, summary_s=200, counts_s=300))
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    sink.write_models(OWNER, [summary(drift=None)])
    sink.write_lifts(OWNER, [lift()])
    sink.write_counts(
        OWNER, [PartitionCounts(client_id=None, topic="t", partition=0, counts={"in": 1})]
    )
    sink.beat(WorkerBeat(worker="w", at_ms=NOW_MS, started_at_ms=NOW_MS))

    ttls = {key.decode(): server.ttl(key) for key in server.scan_iter(count=5_000)}

    assert len(ttls) > len(rows)
    assert min(ttls.values()) > 0
    assert all(ttl <= 100 for key, ttl in ttls.items() if ":recipient:" in key)


def test_memory_forgets_after_the_ttl(sample):
    """The twin in memory keeps the same times to live, by its own clock."""
    clock = [NOW_MS]
    store = MemoryStore(Retention(recipient_s=10), now_ms=lambda: clock[0])
    rows, records = sample
    store.write_recipients(OWNER, rows, records)
    clients, ids = asked(rows)

    clock[0] += 9_999
    assert store.records(clients[:1], ids[:1])["layout"][0] == RECIPIENT_LAYOUT
    clock[0] += 1
    assert store.records(clients[:1], ids[:1])["layout"][0] == 0


def test_scores_survive_packing(store, sample):
    """One byte an hour keeps every probability within half a step of the row's largest."""
    sink, reader = store
    rows, records = sample
    truth = np.random.default_rng(1).random((len(rows), 168))
    records["score_scale"], records["scores"] = encode_scores(truth)
    sink.write_recipients(OWNER, rows, records)
    clients, ids = asked(rows)
    found = decode_scores(reader.records(clients, ids))

    limit = truth.max(axis=1, keepdims=True) / 255 * 0.5001
    assert (np.abs(found - truth) <= limit).all()
