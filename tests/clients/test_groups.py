"""Groups: the right band, sums that are the rows', and nothing lost in a restart."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from clients.blocks import block, cut, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.clients.groups import TOP, group_places
from sendtide.events.columns import pack, unpack
from sendtide.events.examples import CONTROL_ARM, REST_ARM
from sendtide.events.groups import BANDS, PLACES
from sendtide.events.mailbox import MAILBOX_PROVIDERS, OTHER_PROVIDER
from sendtide.monitoring.lift import judge_lift

ZONES = {
    "America/Los_Angeles": "UTC-9 to -7", "America/New_York": "UTC-6 to -4", "UTC": "UTC+0 to +2",
    "Europe/Paris": "UTC+0 to +2", "Asia/Kolkata": "UTC+3 to +5", "Asia/Tokyo": "UTC+9 to +11",
    "Pacific/Auckland": "UTC+12 to +14", "Pacific/Pago_Pago": "UTC-12 to -10",
}  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_a_zones_band_follows_from_local_and_universal_time(zone):
    """At every hour of two weeks of winter, in zones east and west."""
    start = int(datetime(2026, 1, 5, tzinfo=ZoneInfo("UTC")).timestamp())
    times = start + 3_600 * np.arange(336)
    local = [datetime.fromtimestamp(at, ZoneInfo(zone)) for at in times.tolist()]
    hours = np.array([at.weekday() * 24 + at.hour for at in local], np.uint8)
    places = group_places(hours, times * 1000, np.zeros(336, np.uint8))
    assert {PLACES[band] for band in places[:, 0]} == {ZONES[zone]}


def test_sums_are_those_of_the_rows_however_they_are_cut():
    """Every row is in a band and with a provider; blocks and a restart change nothing."""
    rows = example_rows(1_200)
    whole, parts = ClientPartition(0, ClientSettings()), ClientPartition(0, ClientSettings())
    learned = whole.apply(block(rows, "label")).learned
    for i, piece in enumerate(cut(rows, "label", [7, 190, 3])):
        parts.apply(piece)
        if i == 5:
            meta, columns = unpack(pack(*parts.snapshot()))
            parts = ClientPartition.restore(0, parts.settings, meta, columns)
    one, other = whole.learning.groups, parts.learning.groups
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.sums, other.sums)
    np.testing.assert_array_equal(one.began_ms, other.began_ms)

    assert whole.digest() == parts.digest()
    places = group_places(rows["hour_of_week"], rows["sent_at_ms"], rows["provider"])
    row = whole.roster.names.index("client-1")
    for place in range(len(PLACES)):
        mine = (rows["client"] == 1) & (places == place).any(axis=1)
        p, y = learned.prediction[mine], learned.label[mine].astype(bool)
        assert one.rows[row, 0, place].tolist() == [mine.sum(), y.sum()]
        losses = -np.log(np.where(y, p, 1 - p))
        wanted = [p.sum(), losses.sum(), (p * (1 - p)).sum(), (losses**2).sum()]
        assert one.sums[row, 0, place].tolist() == pytest.approx(wanted)
    assert one.began_ms[row] == rows["sent_at_ms"][rows["client"] == 1].min()
    assert one.rows[:, 0, : len(BANDS), 0].sum() == 1_200
    assert one.rows[:, 0, len(BANDS) :, 0].sum() == 1_200


def test_what_travels_names_the_largest_providers_and_adds_up():
    """The TOP by labels keep their names, the rest of them are with "other"; zones all stay."""
    rows = example_rows(3_000, clients=1)
    rng = np.random.default_rng(5)
    weights = 1 / np.arange(1, len(MAILBOX_PROVIDERS) + 1)
    every = rng.choice(len(MAILBOX_PROVIDERS), 3_000, p=weights / weights.sum())
    rows["provider"] = every.astype(np.uint8)
    partition = ClientPartition(0, ClientSettings())
    partition.apply(block(rows, "label"))
    state = next(s for s in partition.take_models() if s.kind == "propensity")

    places, labels = state.columns["groups.places"], state.columns["groups.rows"][0, :, 0]
    told = {PLACES[k]: n for k, n in zip(places.tolist(), labels.tolist(), strict=True)}
    count = np.bincount(every, minlength=len(MAILBOX_PROVIDERS))
    named = OTHER_PROVIDER + 1 + np.argsort(-count[OTHER_PROVIDER + 1 :], kind="stable")
    for code in named[:TOP]:
        assert told[MAILBOX_PROVIDERS[code]] == count[code]
    assert not {MAILBOX_PROVIDERS[code] for code in named[TOP:]} & told.keys()
    assert told["other"] == count[OTHER_PROVIDER] + count[named[TOP:]].sum()
    assert sum(n for name, n in told.items() if name in BANDS) == 3_000
    sums = state.columns["groups.sums"][0, places >= len(BANDS)].sum(axis=0)
    assert sums == pytest.approx(partition.learning.groups.sums[0, 0, len(BANDS) :].sum(axis=0))


def test_lifts_are_those_of_each_groups_own_rows():
    """By the judgement of the whole client, over half as many groups of recipients."""
    rows = example_rows(4_000, clients=1)
    partition = ClientPartition(0, ClientSettings())
    partition.apply(block(rows, "label"))
    state = next(s for s in partition.take_models() if s.kind == "propensity")
    for k, place in enumerate(state.columns["groups.places"].tolist()):
        if PLACES[place] in BANDS:
            continue
        counts = np.zeros((2, 1, 2, 32), np.int64)
        mine = (rows["provider"] == place - len(BANDS)) & (rows["bounced"] == 0)
        for side, arm in enumerate((REST_ARM, CONTROL_ARM)):
            own = mine & (rows["arm"] == arm)
            cluster = rows["group"][own] % 32
            np.add.at(counts[0, 0, side], cluster, 1)
            np.add.at(counts[1, 0, side], cluster, rows["opened"][own])
        judged = judge_lift(*counts, 0.02)
        wanted = [judged.difference[0], judged.low[0], judged.high[0]]
        assert state.columns["groups.lifts"][k].tolist() == pytest.approx(wanted)
        assert state.columns["groups.arms"][k].tolist() == counts[0, 0].sum(axis=-1).tolist()


def test_lifts_begin_anew_with_another_control_group():
    """What was counted for another draw is not pooled with this one's."""
    partition = ClientPartition(0, ClientSettings())
    partition.apply(block(example_rows(500), "label"))
    kept = ClientPartition.restore(0, ClientSettings(), *partition.snapshot())
    other = ClientPartition.restore(0, ClientSettings(control_salt="b"), *partition.snapshot())
    assert kept.learning.group_lift.counts.sum() == partition.learning.group_lift.counts.sum() > 0
    assert other.learning.group_lift.counts.shape == kept.learning.group_lift.counts.shape
    assert other.learning.group_lift.counts.sum() == 0
    assert (other.learning.groups.rows == kept.learning.groups.rows).all()
