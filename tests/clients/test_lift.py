"""Counts of control groups: integers whatever the order, and a verdict per client."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.blocks import block, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.clients.lift import LIFT_METRICS, LiftCounts, lift_message
from sendtide.events.columns import pack, unpack
from sendtide.events.examples import CONTROL_ARM, NO_ARM, REST_ARM, ExampleBlock
from sendtide.events.hashing import GROUPS
from sendtide.events.messages import MetricMessage
from sendtide.monitoring.lift import judge_lift

CLIENTS = 3
NAMES = ["shop", "news", "club"]


def labels(seed, n=400, lift=0.0):
    """Labelled exposures: client rows, and the columns that are counted."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(3, n, p=[0.6, 0.3, 0.1]).astype(np.uint8)
    opened = rng.random(n) < 0.3 + lift * (arm != CONTROL_ARM)
    return rng.integers(0, CLIENTS, n), {
        "arm": arm,
        "group": rng.integers(0, GROUPS, n).astype(np.uint8),
        "opened": opened.astype(np.uint8),
        "clicked": (opened & (rng.random(n) < 0.3)).astype(np.uint8),
        "time_ms": 1_780_000_000_000 + rng.integers(0, 10**9, n),
    }


def counted(*parts):
    """What comes of label rows added part by part."""
    found = LiftCounts(0.3)
    found.grow(CLIENTS)
    for rows, columns in parts:
        found.add(rows, columns)
    return found


def some(rows, columns, which):
    return rows[which], {name: column[which] for name, column in columns.items()}


def same(one, other):
    assert one.counts.tolist() == other.counts.tolist()
    assert one.span_ms.tolist() == other.span_ms.tolist()


def test_counts_by_hand():
    """Every row once, in its client's arm and group; one of no known arm is left out."""
    rows, columns = labels(1)
    found = counted((rows, columns))
    for client in range(CLIENTS):
        for arm, code in ((0, REST_ARM), (1, CONTROL_ARM)):
            mine = (rows == client) & (columns["arm"] == code)
            for group in (0, 7, GROUPS - 1):
                here = mine & (columns["group"] == group)
                sums = [here.sum(), columns["opened"][here].sum(), columns["clicked"][here].sum()]
                assert found.counts[client, :, arm, group].tolist() == sums
    times = columns["time_ms"][(rows == 0) & (columns["arm"] != NO_ARM)]
    assert found.span_ms[0].tolist() == [times.min(), times.max()]


@given(st.integers(0, 50), st.lists(st.integers(0, 400), max_size=4), st.randoms())
def test_order_and_blocks_make_no_difference(seed, cuts, random):
    """Rows shuffled and cut anywhere give the same counts."""
    rows, columns = labels(seed)
    order = np.array(random.sample(range(400), 400))
    bounds = [0, *sorted(cuts), 400]
    parts = [some(rows, columns, order[a:b]) for a, b in pairwise(bounds)]
    same(counted((rows, columns)), counted(*parts))


@given(st.integers(0, 50), st.integers(0, 400))
def test_parts_merge_either_way_round(seed, at):
    """Two partitions' counts are those of one, whichever is added to which."""
    rows, columns = labels(seed)
    first, second = (some(rows, columns, part) for part in (slice(0, at), slice(at, 400)))
    one, other = counted(first), counted(second)
    one.merge(counted(second))
    other.merge(counted(first))
    same(one, other)
    same(one, counted((rows, columns)))


def test_a_snapshot_gives_the_same_counts_back():
    """And what is added afterwards is added to them."""
    before, after = counted(labels(1)), LiftCounts(0.3)
    after.restore(before.snapshot(CLIENTS))
    same(before, after)
    before.add(*labels(2))
    after.add(*labels(2))
    same(before, after)


@pytest.mark.parametrize("draw", [(0.2, ""), (0.3, "b")])
def test_another_control_group_begins_anew(draw):
    """Counts of one draw say nothing of those of another share or salt."""
    before, after = counted(labels(1)), LiftCounts(*draw)
    after.restore(before.snapshot(CLIENTS))
    after.grow(CLIENTS)
    assert not after.counts.any()
    assert not after.span_ms.any()


def test_each_client_has_its_verdict():
    """A lift is told for opens; the numbers are those of the judgement."""
    found = counted(labels(3, n=60_000, lift=0.1))
    opens, clicks = found.summaries([1], NAMES)
    assert (opens.metric, clicks.metric) == LIFT_METRICS
    assert opens.verdict == "lift"
    assert opens.low < 0.1 < opens.high
    assert opens.lift == pytest.approx(opens.rest_rate - opens.control_rate)
    assert opens.rest_sends + opens.control_sends == found.counts[1, 0].sum()
    judged = judge_lift(found.counts[1, 0][None], found.counts[1, 1][None], 0.02)
    assert (opens.low, opens.high) == (judged.low[0], judged.high[0])


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_blocks_that_tell_no_arm_are_learned_and_not_compared(version):
    """Of before version 1.2: nobody of them was told apart, so they are in neither arm."""
    meta, columns = unpack(block(example_rows(300), "label").to_bytes())
    if version == "1.1":
        columns = {name: column for name, column in columns.items() if name != "group"}
    read = ExampleBlock.from_bytes(pack(meta | {"version": version, "origin": 0}, columns))
    partition = ClientPartition(0, ClientSettings())
    partition.apply(read)
    assert partition.counts()["labels"] == 300
    known = int((columns["arm"] != NO_ARM).sum()) if version == "1.2" else 0
    assert partition.lift.counts[:, 0].sum() == known
    assert bool(partition.lifts()) is bool(known)


def test_clients_are_judged_together_as_each_alone():
    """Several at once, and one without a control group among them."""
    rows, columns = labels(3, n=20_000)
    columns["arm"][rows == 1] = REST_ARM
    found = counted((rows, columns))
    alone = [summary for row in range(CLIENTS) for summary in found.summaries([row], NAMES)]
    assert found.summaries(range(CLIENTS), NAMES) == alone
    assert [(summary.client_id, summary.lift is None) for summary in alone[::2]] == [
        ("shop", False), ("news", True), ("club", False),
    ]  # fmt: skip


def test_few_labels_say_nothing_yet():
    """Without a label there is no summary; with one arm, or few of both, there is no number."""
    rows, columns = labels(4, n=300)
    nobody = some(rows, columns, columns["arm"] != CONTROL_ARM)
    assert counted().summaries([0], NAMES) == []
    alone, _ = counted(nobody).summaries([0], NAMES)
    assert (alone.verdict, alone.lift, alone.control_sends) == ("no lift yet", None, 0)
    assert alone.control_rate is None
    assert 0 < alone.rest_rate < 1
    opens, _ = counted((rows, columns)).summaries([0], NAMES)
    assert (opens.verdict, opens.lift, opens.low) == ("no lift yet", None, None)


def test_what_goes_to_the_metrics_topic():
    """A valid message whose identity repeats with the same labels."""
    [opens, _] = counted(labels(5, n=9_000)).summaries([0], NAMES)
    message = lift_message(opens)
    again = msgspec.json.decode(msgspec.json.encode(message), type=MetricMessage)
    assert again == message
    assert (message.metric, message.value) == ("lift.open", opens.lift)
    assert message.id == f"lift.open:{opens.rest_sends + opens.control_sends}:shop"
