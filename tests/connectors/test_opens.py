"""Tables of opens: every way to write a time, and errors that name row and column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest

from sendtide.connectors.opens import read_opens
from sendtide.events.errors import ConfigurationError

AT = datetime(2024, 3, 1, 7, 30, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-01T07:30:00Z",
        "2024-03-01T08:30:00+01:00",
        "2024-03-01 07:30:00.000",
        "2024-03-01 07:30",
        "2024-03-01T02:00:00-0530",
        " 2024-03-01T07:30:00 UTC",
        str(AT_MS),
        str(AT_MS // 1000),
    ],
)
def test_every_way_to_write_a_time(tmp_path, text):
    """With an offset it is exact; without one it is UTC; numbers are seconds or milliseconds."""
    path = tmp_path / "opens.csv"
    path.write_text(f"user,opened_at\nanna,{text}\n")
    assert read_opens(path).time_ms.tolist() == [AT_MS]


@pytest.mark.parametrize(
    "values",
    [
        [AT, AT + timedelta(hours=1)],
        [AT.astimezone(timezone(timedelta(hours=2))), AT + timedelta(hours=1)],
        [AT.replace(tzinfo=None), AT.replace(tzinfo=None) + timedelta(hours=1)],
        [AT_MS, AT_MS + 3_600_000],
        [AT_MS // 1000, AT_MS // 1000 + 3600],
    ],
)
def test_parquet_types(tmp_path, values):
    """Times, and whole numbers; users may be numbers too."""
    path = tmp_path / "opens.parquet"
    pl.DataFrame({"user": [7, 7], "opened_at": values[::-1]}).write_parquet(path)
    read = read_opens(path)
    assert read.names == ["7"]
    assert read.time_ms.tolist() == [AT_MS, AT_MS + 3_600_000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,opened_at\nanna,2024-03-01 07:30\nbert,yesterday\n", ["row 2", "opened_at", "yest"]),
        ("user,opened_at\n,2024-03-01 07:30\n", ["row 1", "'user'"]),
        ("user,opened_at\nanna,\n", ["row 1", "'opened_at'"]),
        ("user,opened_at\nanna,1999-03-01 07:30\n", ["row 1", "2000"]),
        ("user,opened_at\nanna,12\n", ["row 1", "'12'"]),
        ("user,time\nanna,12\n", ["lacks opened_at", "user, time"]),
        ("user,opened_at\n", ["no rows"]),
        ("", ["cannot read"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    """The row, the column, what stands there, what should."""
    path = tmp_path / "opens.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_opens(path)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_file_that_is_not_there(tmp_path):
    """Said, with its name."""
    with pytest.raises(ConfigurationError, match=r"none\.parquet"):
        read_opens(tmp_path / "none.parquet")
