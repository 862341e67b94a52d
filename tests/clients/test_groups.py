"""Groups: the right band, sums that are the rows', and nothing lost in a restart."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from clients.blocks import block, cut, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.clients.groups import BANDS, offset_bands
from sendtide.events.columns import pack, unpack

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
    assert {BANDS[band] for band in offset_bands(hours, times * 1000)} == {ZONES[zone]}


def test_sums_are_those_of_the_rows_however_they_are_cut():
    """Every row is in one band of its client; blocks and a restart change nothing."""
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

    bands = offset_bands(rows["hour_of_week"], rows["sent_at_ms"])
    row = whole.roster.names.index("client-1")
    for band in range(len(BANDS)):
        mine = (rows["client"] == 1) & (bands == band)
        p, y = learned.prediction[mine], learned.label[mine].astype(bool)
        assert one.rows[row, 0, band].tolist() == [mine.sum(), y.sum()]
        assert one.sums[row, 0, band, 0] == pytest.approx(p.sum())
        assert one.sums[row, 0, band, 1] == pytest.approx(-np.log(np.where(y, p, 1 - p)).sum())
    assert one.began_ms[row] == rows["sent_at_ms"][rows["client"] == 1].min()
    assert one.rows[:, 0, :, 0].sum() == 1_200
