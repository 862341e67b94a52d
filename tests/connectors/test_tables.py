"""Users' tables: three kinds of file, one meaning, and every wrong cell named."""

from __future__ import annotations

import polars as pl
import pytest

from sendtide.connectors.tables import NEVER, read_table
from sendtide.events.errors import ConfigurationError

AT_MS = 1_709_281_800_000
"""2024-03-01 08:30 UTC."""


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-01T08:30:00Z", "2024-03-01 08:30", "2024-03-01T09:30:00+01:00",
        "2024-03-01 09:30+0100", "1709281800", "1709281800000", "1709281800.0",
        "2024-03-01 08:30:00.000 UTC",
    ],
)  # fmt: skip
def test_times_are_read_as_people_write_them(tmp_path, text):
    """With a zone exact, without one UTC; whole numbers are seconds or milliseconds."""
    path = tmp_path / "a.csv"
    path.write_text(f"at,n\n{text},1\n,2\n")
    assert read_table(path).times("at", "--at", optional=True).tolist() == [AT_MS, NEVER]


def test_typed_columns_mean_the_same(tmp_path):
    """Parquet's times, whole numbers and truth values."""
    path = tmp_path / "a.parquet"
    at = pl.Series([AT_MS]).cast(pl.Datetime("ms"))
    pl.DataFrame({"at": at, "s": [AT_MS // 1000], "yes": [True]}).write_parquet(path)
    table = read_table(path)
    assert table.times("at", "--at").tolist() == table.times("s", "--at").tolist() == [AT_MS]
    assert table.numbers("yes", "--yes").tolist() == [1.0]


def test_truth_values_of_any_spelling_are_numbers(tmp_path):
    """t, False and YES, as databases write them."""
    path = tmp_path / "a.csv"
    path.write_text("x\nt\nFalse\nYES\n0.5\n")
    assert read_table(path).numbers("x", "--x").tolist() == [1, 0, 1, 0.5]


@pytest.mark.parametrize(
    ("bad", "wanted"), [("soon", "a time"), ("1850-01-01", "a time"), ("", "")]
)
def test_a_wrong_time_is_named(tmp_path, bad, wanted):
    """Row, column and value; empty only where a time may be missing."""
    path = tmp_path / "a.csv"
    path.write_text(f"at,n\n2024-01-01,1\n{bad},2\n")
    with pytest.raises(ConfigurationError, match=f"row 2 .*'at' .*{wanted}"):
        read_table(path).times("at", "--at")


def test_unreadable_and_empty_files(tmp_path):
    """Said with the path, and what is possible."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "a.csv").write_text("x,y\n")
    with pytest.raises(ConfigurationError, match="no rows"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("x\n1\n")
    with pytest.raises(ConfigurationError, match="no column 'z'; its columns: x; say --z COLUMN"):
        read_table(tmp_path / "b.csv").numbers("z", "--z")
