"""A log of sends as columns and as batches: nothing lost, nothing invented, no address inside."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import histories
from histories import DAY_MS, HOUR_MS, START_MS
from sendtide.connectors.history import History, columns_of, read_history
from sendtide.connectors.history_events import hours_of
from sendtide.connectors.mapping import FACTS, mapping_of
from sendtide.connectors.sieve import Sieve
from sendtide.connectors.tables import NEVER, as_times
from sendtide.connectors.zones import zone_of_offset
from sendtide.events.errors import ConfigurationError
from sendtide.events.hashing import hash_text
from sendtide.events.mailbox import MAILBOX_PROVIDERS
from sendtide.events.messages import ENGAGEMENT_KINDS
from sendtide.events.time import ZoneTable, known_zones

WEEK_MS = 7 * DAY_MS


def read(path, text, **options) -> History:
    """A CSV's text read under the mapping its columns give."""
    path.write_text(text)
    return read_history(path, mapping_of(None, columns_of(path), {}, **options), WEEK_MS)


@given(
    cells=st.lists(
        st.tuples(
            st.sampled_from(["anna@x.org", "ANNA@X.org", "bert", "", "a@", "7"]),
            st.sampled_from(
                ["2024-01-05 10:00", "2024-01-06T10:00Z", "", "soon", "1704445200", "12"]
            ),
            st.sampled_from(["", "2024-01-07 09:00", "2023-01-01", "later"]),
            st.sampled_from(["", "0", "1", "yes", "f", "maybe"]),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=40, deadline=None)
def test_every_row_is_used_or_refused_for_one_reason(tmp_path_factory, cells):
    """Rows used and rows refused add up, whatever the file holds; no address is told."""
    path = tmp_path_factory.mktemp("any") / "log.csv"
    lines = ["recipient,sent_at,opened_at,clicked", *(",".join(row) for row in cells)]
    good = sum(
        r not in {"", "a@"}
        and s not in {"", "soon", "12"}
        and o in {"", "2024-01-07 09:00"}
        and c != "maybe"
        for r, s, o, c in cells
    )
    path.write_text("\n".join(lines) + "\n")
    mapping = mapping_of(None, columns_of(path), {})
    if not good:
        with pytest.raises(ConfigurationError, match="can be taken") as raised:
            read_history(path, mapping, WEEK_MS)
        assert "x.org" not in str(raised.value).lower()
        return
    found = read_history(path, mapping, WEEK_MS)
    assert len(found) == good
    assert found.rows == len(cells) == good + sum(one.rows for one in found.refusals)
    assert "x.org" not in repr(found).lower()
    assert np.all(np.diff(found.sent_at_ms) >= 0)


def test_spellings_of_an_address_are_one_recipient_and_clients_are_apart(tmp_path):
    """Case and space make no other person; another client's same address does."""
    found = read(
        tmp_path / "log.csv",
        "client,recipient,sent_at,opened\nacme,Anna@X.org,2024-01-01,1\n"
        "acme, anna@x.org ,2024-01-02,0\nglobex,anna@x.org,2024-01-03,0\n",
    )
    assert found.recipient.tolist() == [0, 0, 1]
    assert found.clients == ["acme", "globex"]
    assert len(np.unique(found.ids, axis=0)) == 2


def test_another_run_has_other_hashes_and_the_same_history(tmp_path):
    """The key is drawn for each run; what is learned of the log does not depend on it."""
    log = histories.sends(1, 20, 10, lambda rng, n: rng.integers(0, 24, n), lambda p, h: h / 30)
    path = histories.write(histories.hackerrank(log), tmp_path / "log.csv")
    mapping = mapping_of(None, columns_of(path), {})
    one, two = (read_history(path, mapping, WEEK_MS) for _ in range(2))
    assert not np.intersect1d(one.ids, two.ids).size
    for name in ("recipient", "sent_at_ms", "zone"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    for fact in FACTS:
        assert np.array_equal(one.facts.at_ms[fact], two.facts.at_ms[fact])


def test_repeated_messages_are_refused_once_each(tmp_path):
    """Of two rows with one id the first counts; rows without an id are no repeats."""
    found = read(
        tmp_path / "log.csv",
        "message,recipient,sent_at,opened\n1,a,2024-01-01,1\n1,a,2024-01-01,1\n"
        ",a,2024-01-01,0\n,a,2024-01-01,0\n2,b,2024-01-01,0\n",
    )
    assert len(found) == 4
    assert [(one.reason, one.rows) for one in found.refusals] == [("repeated", 1)]


def test_drawn_times_keep_their_order_and_the_horizon(tmp_path):
    """Opens without a time: after the send, before their click, within the horizon; noted."""
    n = 3_000
    frame = pl.DataFrame(
        {
            "recipient": np.arange(n),
            "sent_at": np.full(n, START_MS),
            "opened": ["yes"] * n,
            "clicked": np.arange(n) % 2,
            "clicked_at": np.where(np.arange(n) % 4 == 1, START_MS + 5_000, None).tolist(),
        }
    )
    path = histories.write(frame, tmp_path / "log.parquet")
    found = read_history(path, mapping_of(None, columns_of(path), {}), WEEK_MS)
    opened, clicked = found.facts.at_ms["opened"], found.facts.at_ms["clicked"]
    assert found.facts.drawn.all()
    assert np.all((opened > START_MS) & (opened < START_MS + WEEK_MS))
    did = clicked != NEVER
    assert did.sum() == n // 2
    assert np.all(clicked[did] >= opened[did])
    assert np.all(clicked[did] < START_MS + WEEK_MS)
    assert np.median(opened[~did] - START_MS) == pytest.approx(2.5 * HOUR_MS, rel=0.1)
    assert [(r.reason, r.rows) for r in found.remarks] == [("open_time_drawn", n)]


def test_what_contradicts_itself_is_refused_and_what_is_late_is_noted(tmp_path):
    """A time of an open that is denied; an open after the horizon."""
    found = read(
        tmp_path / "log.csv",
        "recipient,sent_at,opened,opened_at\na,2024-01-01,no,2024-01-02\n"
        "b,2024-01-01,yes,2024-01-20\nc,2024-01-01,,\n",
    )
    assert [(r.reason, r.rows) for r in found.refusals] == [("opened_contradiction", 1)]
    assert [(r.reason, r.rows) for r in found.remarks] == [("opened_late", 1)]


def test_examples_are_named_by_their_row_in_the_file():
    """Rows left out before do not shift the numbers; what is hidden is hidden."""
    sieve = Sieve.of(np.array([4, 9, 12]))
    column = pl.Series("who", ["x", "mail me at a@b.org", None])
    sieve.refuse(np.array([False, True, True]), "bad", "is bad", column)
    sieve.refuse(np.array([True, True, True]), "worse", "is worse", column, hide=True)
    assert sieve.refusals[0].examples == [
        "row 10: who holds 'mail me at (hidden)'",
        "row 13: who is empty",
    ]
    assert (sieve.refusals[1].rows, sieve.refusals[1].examples) == (
        1,
        ["row 5: who holds (hidden)"],
    )
    assert not sieve.taken.any()


@pytest.mark.parametrize(
    ("text", "options", "wanted"),
    [
        ("2024-07-01 10:00", {"zone": "Europe/Berlin"}, "2024-07-01T08:00"),
        ("2024-01-01T10:00:00+05:30", {"zone": "Europe/Berlin"}, "2024-01-01T04:30"),
        ("01/07/24 22:05", {"pattern": "%d/%m/%y %H:%M", "zone": "Asia/Tokyo"}, "2024-07-01T13:05"),
        ("1719828000.5", {"unit": "seconds"}, "2024-07-01T10:00:00.500"),
        ("1719828000000000", {"unit": "microseconds"}, "2024-07-01T10:00"),
        ("2024-03-31 02:30", {"zone": "Europe/Berlin"}, None),
        ("2024-10-27 02:30", {"zone": "Europe/Berlin"}, "2024-10-27T00:30"),
    ],
)
def test_times_are_read_on_their_clock(text, options, wanted):
    """Zones, patterns and units; an hour that never was is no time, of two the first is meant."""
    found = as_times(pl.Series([text]), **options)[0]
    assert found == (None if wanted is None else int(np.datetime64(wanted, "ms").astype(int)))


def test_offsets_are_zones_that_stay():
    """Every whole hour and the named halves: the zone is so far from UTC in any season."""
    for seconds in [*range(-12 * 3600, 15 * 3600, 3600), 19_800, 20_700, 16_200, 23_400, 34_200]:
        zone = zone_of_offset(seconds)
        codes = np.array([hash_text(zone)] * 2, np.uint64)
        assert set(codes.tolist()) <= set(known_zones())
        at = np.array([START_MS, START_MS + 183 * DAY_MS])
        local, _ = ZoneTable().local_hours(at, codes)
        utc, _ = ZoneTable().local_hours(at + seconds * 1000, np.zeros(2, np.uint64))
        assert local.tolist() == utc.tolist()
    assert [zone_of_offset(odd) for odd in (1, 12_601, 60 * 3600, -13 * 3600)] == [None] * 4


def test_the_batches_hold_every_send_and_every_fact_in_order(tmp_path):
    """Kinds are counted as the file has them; sends come before what is made of them."""
    log = histories.sends(2, 30, 30, lambda rng, n: rng.integers(0, 24, n), lambda p, h: h / 30)
    frame = histories.rees46(log)
    path = histories.write(frame, tmp_path / "log.csv")
    history = read_history(path, mapping_of(None, columns_of(path), {}), WEEK_MS)
    end_ms = int(history.sent_at_ms[-1]) + WEEK_MS
    rows, kinds, known, newest = [], Counter(), set(), 0
    for part in hours_of(history, end_ms):
        assert part.start_ms >= newest
        newest = part.start_ms
        if part.sends is not None:
            rows += part.rows.tolist()
            known |= set(part.sends.identity.tolist())
            assert np.array_equal(part.sends.event_time_ms, history.sent_at_ms[part.rows])
        if part.engagements is not None:
            batch = part.engagements
            kinds.update(ENGAGEMENT_KINDS[kind] for kind in batch.kind.tolist())
            of_a_send = batch.kind != 0
            assert set(batch.message[of_a_send].tolist()) <= known
            assert not set(batch.message[~of_a_send].tolist()) & known
            assert np.all(batch.event_time_ms // HOUR_MS == part.start_ms // HOUR_MS)
            last = int(batch.event_time_ms[-1])
    assert rows == list(range(len(history)))
    mail = frame.filter(pl.col("channel") == "email")
    assert kinds["open"] == (mail["is_opened"] == "t").sum()
    assert kinds["click"] == kinds["conversion"] == (mail["is_clicked"] == "t").sum()
    assert kinds["bounce"] == (mail["is_hard_bounced"] == "t").sum()
    assert kinds["delivered"] >= (end_ms - int(history.sent_at_ms[0])) // DAY_MS
    assert last == end_ms


def test_nothing_is_told_of_what_comes_after_the_end(tmp_path):
    """Time stops where it is told to, though the file knows of later opens."""
    log = histories.sends(2, 30, 30, lambda rng, n: rng.integers(0, 24, n), lambda p, h: h / 30)
    path = histories.write(histories.hackerrank(log), tmp_path / "log.csv")
    history = read_history(path, mapping_of(None, columns_of(path), {}), WEEK_MS)
    end_ms = START_MS + 10 * DAY_MS + 12 * HOUR_MS
    times = [p.engagements.event_time_ms for p in hours_of(history, end_ms) if p.engagements]
    opened = history.facts.at_ms["opened"]
    told = np.concatenate(times)
    assert told.max() == end_ms < opened.max()
    assert len(told) >= np.count_nonzero((opened != NEVER) & (opened <= end_ms))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("recipient,sent_at,opened\na,2024-01-01,1\nb,2024-01-01,1,2\n", "row 2 of .* has 4 cells"),
        ("recipient,sent_at,opened\n", "no rows"),
        ("", "cannot read"),
        (None, "is no file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_where(tmp_path, text, told):
    """Rows that are too long, nothing at all, no file."""
    path = tmp_path / "log.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        read_history(path, mapping_of(None, columns_of(path), {}), WEEK_MS)


@pytest.mark.parametrize(
    "told",
    [
        "machine_open;1;0;1",
        "user_agent;Mozilla/5.0;Airmail 5.0;curl/8.5.0",
        "machine_open,user_agent;1,;0,Airmail 5.0;0,curl/8.5.0",
    ],
)
def test_a_machines_opens_are_marked(tmp_path, told):
    """By a flag or by a user agent; that goes with the open, and with nothing else."""
    names, *cells = told.split(";")
    rows = zip(("a,2024-01-02,1", "b,2024-01-02,0", "c,,0"), cells, strict=True)
    lines = [f"recipient,opened_at,clicked,sent_at,{names}"]
    lines += [f"{row},2024-01-01,{cell}" for row, cell in rows]
    found = read(tmp_path / "log.csv", "\n".join(lines))
    parts = [p.engagements for p in hours_of(found, START_MS + WEEK_MS) if p.engagements]
    told = [
        (ENGAGEMENT_KINDS[k], m)
        for batch in parts
        for k, m in zip(batch.kind.tolist(), batch.machine.tolist(), strict=True)
        if k
    ]
    assert sorted(told) == [("click", 0), ("open", 0), ("open", 2)]


def test_mailbox_providers_are_those_of_addresses_or_of_a_column(tmp_path):
    """A name that is no address tells none, and a domain that is not listed is "other"."""
    rows = ["recipient,sent_at,opened_at", "a@gmail.com,2024-01-05 10:00,"]
    rows += ["b@Live.fr,2024-01-05 11:00,", "c@jones.example,2024-01-05 12:00,"]
    rows += ["4711,2024-01-05 13:00,"]
    history = read(tmp_path / "log.csv", "\n".join(rows))
    told = [MAILBOX_PROVIDERS[code] for code in history.provider]
    assert told == ["gmail.com", "outlook.com", "other", "not told"]

    rows = ["recipient,sent_at,opened_at,mailbox_provider", "4711,2024-01-05 13:00,,yahoo"]
    rows += ["a@gmail.com,2024-01-05 14:00,,"]
    history = read(tmp_path / "named.csv", "\n".join(rows))
    assert [MAILBOX_PROVIDERS[code] for code in history.provider] == ["yahoo.com", "not told"]
    batches = [hour.sends for hour in hours_of(history, START_MS) if hour.sends is not None]
    told = np.concatenate([batch.provider for batch in batches])
    assert told.tolist() == history.provider.tolist()
