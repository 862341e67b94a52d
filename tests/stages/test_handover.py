"""How long records waited for a partition's next owner."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sendtide.stages.handover import Handover


def piece(came_ms):
    return SimpleNamespace(records=SimpleNamespace(timestamps_ms=[came_ms]))


@pytest.mark.parametrize(
    ("left_ms", "came_ms", "since_ms"),
    [
        (5_000, 2_000, 5_000),  # it had waited for the owner before, too: that is lag
        (5_000, 8_000, 8_000),  # the partition was idle
        (0, 2_000, 4_000),  # nobody had it: an archive's records are years old
    ],
)
def test_records_wait_since_there_was_one_and_nobody_to_take_it(left_ms, came_ms, since_ms):
    """Only the first record tells."""
    handover = Handover(given_ms=4_000)
    handover.work_begins(piece(came_ms))
    assert handover.unattended_s is None
    handover.left_ms, taken_ms = left_ms, handover.taken_ms
    handover.work_begins(piece(came_ms + 1_000))
    assert handover.unattended_s == (taken_ms - since_ms) / 1000


def test_without_a_record_nothing_waited():
    """And clocks that differ make no negative wait."""
    handover = Handover(left_ms=5_000)
    assert handover.unattended_s is None
    handover.work_begins(piece(1 << 50))
    assert handover.unattended_s == 0
