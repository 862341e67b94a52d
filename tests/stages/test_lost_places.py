"""When records that do not come are asked for again, and how that is told."""

from __future__ import annotations

import asyncio
import logging

from sendtide.stages.lost_places import LostPlaces, Waiting

PLACE = ("email.sends", 3)


def attempts(standings, *, idle=True, offset=7):
    """Which of these looks, by what they see, lead to an attempt; and the keeper of them."""
    asked = []

    async def fetch_again(places):
        asked.append(list(places))
        return dict.fromkeys(places, offset) if idle else {}

    places = LostPlaces(fetch_again)
    made = []
    for standing_s in standings:
        before = len(asked)
        waiting = {} if standing_s is None else {PLACE: Waiting(offset, standing_s)}
        asyncio.run(places.find(waiting))
        made.append(len(asked) > before)
    assert all(some == [PLACE] for some in asked)
    return made, places


def test_each_attempt_waits_longer_than_the_one_before():
    """A fetch that is only slow must be able to end."""
    standings = [5.0 * n for n in range(40)]
    made, places = attempts(standings)
    at_s = [standing_s for standing_s, attempt in zip(standings, made, strict=True) if attempt]
    assert at_s == [10.0, 30.0, 70.0, 150.0]
    assert places.times == {PLACE: 4}


def test_a_partition_that_moved_is_helped_as_soon_as_the_first_time():
    """What was due is forgotten with the first look at which nothing waits."""
    made, places = attempts([10.0, 15.0, None, 5.0, 10.0])
    assert made == [True, False, False, False, True]
    assert places.times == {PLACE: 2}


def test_work_under_way_is_no_attempt():
    """It is asked at every look whether that has changed; nothing is counted or told."""
    made, places = attempts([10.0, 15.0, 20.0], idle=False)
    assert made == [True, True, True]
    assert not places.times


def test_the_log_names_partition_and_offset(caplog):
    """One line for each attempt."""
    with caplog.at_level(logging.WARNING):
        attempts([12.0], offset=41)
    [record] = caplog.records
    assert "email.sends/3: records wait at offset 41 and none has come for 12 s" in record.message
    assert "attempt 1 since" in record.message
