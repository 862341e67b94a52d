"""Local hours are those of the wall clock, in every zone and through every change of the clocks."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.events.hashing import hash_text
from sendtide.events.messages import MAX_TIME_MS, MIN_TIME_MS
from sendtide.events.time import ZoneTable, known_zones, zone_transitions

TABLE = ZoneTable()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES_MS = st.integers(MIN_TIME_MS, MAX_TIME_MS - 1)


def zone_of(name):
    """The zone by the `tzdata` package, whatever the machine has."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def expected_hour(time_ms, name):
    """Hour of the week by datetime."""
    local = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone_of(name))
    return local.weekday() * 24 + local.hour


def hours(times_ms, name):
    """Hours of the week by the compiled table."""
    times = np.array(times_ms, np.int64)
    codes = np.full(len(times), hash_text(name), np.uint64)
    week, day = TABLE.local_hours(times, codes)
    assert (week % 24 == day).all()
    return week.tolist()


@given(st.sampled_from(sorted(known_zones().values())), st.lists(TIMES_MS, min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_hours_are_those_of_datetime_in_every_zone(name, times_ms):
    """Whole, half and quarter hours off UTC, with daylight saving time or without."""
    assert hours(times_ms, name) == [expected_hour(t, name) for t in times_ms]


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Paris",
        "America/New_York",
        "America/St_Johns",  # half an hour, and until 2011 a change at 00:01
        "Australia/Lord_Howe",  # daylight saving time of half an hour
        "Africa/Casablanca",  # changes around Ramadan
        "Africa/Cairo",  # four changes in some years
        "Asia/Kathmandu",  # 5:45
        "Pacific/Apia",  # skipped a day
        "America/Sao_Paulo",
        "Asia/Pyongyang",
        "Europe/Dublin",  # "winter time" is the negative one
        "Antarctica/Troll",
        "UTC",
    ],
)
def test_hours_are_right_to_the_millisecond_around_every_change(name):
    """Just before, at and after each change, and hourly through a day around it."""
    starts, _ = zone_transitions(name)
    edges = (starts[1:, None] * 1000 + np.array([-1000, -1, 0, 1, 999])).ravel()
    around = (starts[1:40, None] + np.arange(-43_200, 43_200, 3_600)).ravel() * 1000
    times = [*edges.tolist(), *around.tolist(), MIN_TIME_MS, MAX_TIME_MS]
    assert hours(times, name) == [expected_hour(t, name) for t in times]


def test_every_listed_zone_compiles_and_keeps_its_offsets_through_the_years():
    """All of them, twice a month from 2000 to 2100, against datetime."""
    times = list(range(MIN_TIME_MS, MAX_TIME_MS, 400 * 86_400_000))
    for name in sorted(known_zones().values())[::7]:
        assert hours(times, name) == [expected_hour(t, name) for t in times]


@given(st.lists(st.tuples(st.sampled_from(["", "UTC", "Europe/Paris", "Pacific/Apia"]), TIMES_MS)))
def test_rows_of_several_zones_do_not_disturb_each_other(rows):
    """What is kept from one row to the next holds for its zone and period alone."""
    zones = np.array([hash_text(name) if name else 0 for name, _ in rows], np.uint64)
    week, _ = ZoneTable().local_hours(np.array([t for _, t in rows], np.int64), zones)
    assert week.tolist() == [expected_hour(t, name or "UTC") for name, t in rows]


def test_no_zone_is_utc():
    """Hash 0 means absent; 1970-01-01 was a Thursday, 2024-01-01 a Monday."""
    monday_ms = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
    times = np.array([monday_ms, monday_ms + 3_600_000 - 1, monday_ms - 1], np.int64)
    week, day = ZoneTable().local_hours(times, np.zeros(3, np.uint64))
    assert week.tolist() == [0, 0, 167]
    assert day.tolist() == [0, 0, 23]


def test_an_unknown_zone_is_an_error_and_not_a_guess():
    """The gate lets none through; if one came, its hours would be wrong in silence."""
    with pytest.raises(KeyError):
        ZoneTable().local_hours(np.array([MIN_TIME_MS]), np.array([12345], np.uint64))


def test_hashes_of_zone_names_differ():
    """Else one zone would have another's hours."""
    names = (files("tzdata") / "zones").read_text().split()
    assert len(known_zones()) == len(set(names)) > 500
