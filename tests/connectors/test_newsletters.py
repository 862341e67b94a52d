"""A newsletter file becomes the stream it once was: order, labels, delays and moving watermarks."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sendtide.connectors import Newsletters, partition_of
from sendtide.connectors.newsletters import CLIENT, HEARTBEAT_CLIENT, HORIZON_MS
from sendtide.events.errors import ConfigurationError
from sendtide.events.messages import CONTENT_FIELDS

DAY_MS = 86_400_000
LATENESS_MS = 6 * 3_600_000
NEWSLETTERS = Path(
    os.environ.get("SENDTIDE_NEWSLETTERS")
    or Path(__file__).parents[3] / "shared" / "data" / "newsletters.parquet"
)


def table(people=3_000, issues=4):
    rng = np.random.default_rng(1)
    n = people * issues
    opened = rng.random(n) < 0.5
    columns = {
        "sent_at_s": np.repeat(1_600_000_000 + 2_000_000 * np.arange(issues), people),
        "subscriber": np.tile(np.arange(people) * 7, issues),
        "opened_within_week": opened,
        "clicks": np.where(opened, rng.integers(0, 4, n), rng.random(n) < 0.01).astype(np.int16),
        **{name: np.full(n, i + 1) for i, name in enumerate(CONTENT_FIELDS)},
    }
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("newsletters") / "file.parquet"
    table().sample(fraction=1.0, shuffle=True, seed=2).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def events(source):
    records = Newsletters(source).records(partitions=8, lateness_ms=LATENESS_MS)
    return [
        (topic, json.loads(value), key, timestamp)
        for batch in records
        for topic, key, value, timestamp in batch
    ]


def of_file(events, kind):
    return [e for topic, e, _, _ in events if e["client_id"] == CLIENT and e.get("kind") == kind]


def test_every_send_open_and_click_is_there_once(source, events):
    """Rows become sends, labels opens, and each click a click, all with their own identity."""
    file = Newsletters(source)
    identities = {(topic, e["id"]) for topic, e, _, _ in events}

    assert len(of_file(events, None)) == file.rows == 12_000
    assert len(of_file(events, "open")) == file.opened.sum()
    assert len(of_file(events, "click")) == file.clicks.sum()
    assert file.engagements == file.opened.sum() + file.clicks.sum()
    assert len(identities) == len(events)


def test_records_are_keyed_stamped_and_in_order_over_both_topics(events):
    """Keys are the recipient's, timestamps the event's, and time never falls."""
    times = [timestamp for *_, timestamp in events]

    assert times == sorted(times)
    assert all(e["event_time_ms"] == timestamp for _, e, _, timestamp in events)
    assert all(f"{e['client_id']}:{e['recipient_id']}".encode() == key for _, e, key, _ in events)


def test_opens_follow_sends_within_the_week_and_clicks_follow_opens(events):
    """Whoever joins by message id finds the file's labels again."""
    sends = {e["id"]: e for e in of_file(events, None)}
    opens = {e["message_id"]: e["event_time_ms"] for e in of_file(events, "open")}
    for e in [*of_file(events, "open"), *of_file(events, "click")]:
        send = sends[e["message_id"]]
        assert e["recipient_id"] == send["recipient_id"]
        assert 0 < e["event_time_ms"] - send["event_time_ms"] < HORIZON_MS
        assert e["event_time_ms"] >= opens.get(e["message_id"], 0)


def test_open_delays_have_the_stated_distribution(events):
    """The median is 2.5 h (within 10 %), the spread that of sigma 1.5 cut at a week."""
    sends = {e["id"]: e["event_time_ms"] for e in of_file(events, None)}
    delays_h = [
        (e["event_time_ms"] - sends[e["message_id"]]) / 3.6e6 for e in of_file(events, "open")
    ]

    assert np.median(delays_h) == pytest.approx(2.5, rel=0.1)
    assert np.std(np.log(delays_h)) == pytest.approx(1.46, abs=0.06)


def test_labels_and_subscribers_are_in_the_order_of_the_sends(source, events):
    """`opened[k]` is the label of the k-th send produced, whatever the file's order was."""
    file = Newsletters(source)
    opened = {e["message_id"] for e in of_file(events, "open")}
    sends = of_file(events, None)

    assert [e["id"] in opened for e in sends] == file.opened.tolist()
    assert [e["event_time_ms"] for e in sends] == file.sent_at_ms.tolist()
    assert len({e["recipient_id"] for e in sends}) == len(set(file.subscriber.tolist())) == 3_000


@pytest.mark.parametrize("partitions", [1, 8, 24])
def test_every_partition_sees_its_last_horizon_pass(source, partitions):
    """In each partition a heartbeat comes daily and the last lies beyond horizon and lateness."""
    file = Newsletters(source)
    beats = {}
    for batch in file.records(partitions=partitions, lateness_ms=LATENESS_MS):
        for topic, key, _, timestamp in batch:
            if key.startswith(HEARTBEAT_CLIENT.encode()):
                assert topic == "email.engagements"
                beats.setdefault(partition_of(key, partitions), []).append(timestamp)

    assert sorted(beats) == list(range(partitions))
    for times in beats.values():
        assert max(np.diff([file.sent_at_ms[0], *times])) <= DAY_MS
        assert times[-1] - LATENESS_MS > file.sent_at_ms[-1] + HORIZON_MS


def test_seed_moves_times_but_no_label(source):
    """Another seed draws other moments for the same opens; the same seed the same bytes."""
    streams = [
        [r for batch in Newsletters(source, seed=seed).records(partitions=2) for r in batch]
        for seed in (1, 1, 2)
    ]

    assert streams[0] == streams[1]
    assert streams[0] != streams[2]
    assert {k for _, k, _, _ in streams[0]} == {k for _, k, _, _ in streams[2]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop("clicks", "words"), r"lacks the columns \['clicks', 'words'\]"),
        (lambda t: t.with_columns(pl.col("words").cast(pl.String)), "'words'.*must be integer"),
        (lambda t: t.with_columns(pl.col("opened_within_week").cast(pl.Int8)), "must be boolean"),
        (lambda t: t.with_columns(words=pl.lit(None, pl.Int64)), "'words'.*empty values"),
        (lambda t: t.with_columns(links=pl.lit(-1)), "'links'.*allowed 0"),
        (lambda t: t.with_columns(pl.col("sent_at_s") * 1000), "'sent_at_s'.*allowed"),
        (lambda t: t.head(0), "no rows"),
    ],
)
def test_a_file_that_does_not_fit_says_which_column_and_why(tmp_path, change, said):
    """Missing, mistyped, empty and impossible columns are named before anything is sent."""
    path = tmp_path / "file.parquet"
    change(table(people=10)).write_parquet(path)

    with pytest.raises(ConfigurationError, match=said):
        Newsletters(path)


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_an_unreadable_file_is_a_sentence(tmp_path, content):
    """No file, or no Parquet file, is reported with its path."""
    path = tmp_path / "file.parquet"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="cannot read"):
        Newsletters(path)


@pytest.mark.skipif(not NEWSLETTERS.exists(), reason="no newsletters file at hand")
def test_the_real_file_becomes_all_its_deliveries():
    """622,614 sends, 114,381 opens, 15,222 clicks, and nothing else but heartbeats."""
    counts = {}
    for batch in Newsletters(NEWSLETTERS).records(partitions=8):
        kinds = np.array([value.rsplit(b'"', 2)[1] for value in batch.values])
        beats = np.array([key.startswith(HEARTBEAT_CLIENT.encode()) for key in batch.keys])
        for name, rows in (
            ("sends", batch.topic == 0),
            ("opens", (batch.topic == 1) & (kinds == b"open")),
            ("clicks", (batch.topic == 1) & (kinds == b"click")),
            ("beats", beats),
            ("all", np.ones(len(batch), bool)),
        ):
            counts[name] = counts.get(name, 0) + int(rows.sum())

    assert (counts["sends"], counts["opens"], counts["clicks"]) == (622_614, 114_381, 15_222)
    assert counts["all"] == 622_614 + 114_381 + 15_222 + counts["beats"]
