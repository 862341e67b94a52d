"""Mappings of foreign columns: ready ones, files, changes; mistakes are told."""

from __future__ import annotations

import pytest

import histories
from sendtide.connectors.mapping import FIELDS, mapping_of, ready_mappings
from sendtide.events.errors import ConfigurationError

LOG = histories.sends(1, 3, 3, lambda rng, n: rng.integers(0, 24, n), lambda p, h: h / 24)
REES46, HACKERRANK = histories.rees46(LOG).columns, histories.hackerrank(LOG).columns
OWN = """
name = "shop"
[columns]
recipient = "email"
sent_at = "when"
opened = ["seen", "read"]
[constants]
client = "acme"
time_zone = "Europe/Berlin"
[times]
time_zone = "Europe/Berlin"
format = "%d.%m.%Y"
[where]
channel = "email"
"""


def test_ready_mappings_are_recognised_and_name_columns_that_are_there():
    """Each fits its own schema and no other; all of its columns are in that schema."""
    ready = ready_mappings()
    assert set(ready) == {"rees46", "hackerrank"}
    for name, own, other in (("rees46", REES46, HACKERRANK), ("hackerrank", HACKERRANK, REES46)):
        assert mapping_of(None, own, {}).name == name
        assert not ready[name].fits(other)
        assert set(ready[name].wanted()) <= set(own)
        assert set(ready[name].columns) <= set(FIELDS)


def test_a_file_of_ones_own(tmp_path):
    """Everything a mapping may say; options win over it."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    columns = ["email", "when", "seen", "read", "channel", "day"]
    mapping = mapping_of(str(path), columns, {"sent_at": "day"}, client="globex")
    assert mapping.names("opened") == ["seen", "read"]
    assert mapping.names("sent_at") == ["day"]
    assert mapping.names("clicked") == []
    assert mapping.allowed() == {"channel": ["email"]}
    assert mapping.wanted() == ["email", "day", "seen", "read", "channel"]
    assert (mapping.constants.client, mapping.constants.time_zone) == ("globex", "Europe/Berlin")
    assert mapping.times.format == "%d.%m.%Y"


def test_columns_named_as_the_fields_need_no_mapping():
    """What is named like a field is that field; the rest is left alone."""
    mapping = mapping_of(None, ["recipient", "sent_at", "opened_at", "colour"], {})
    assert mapping.columns == {name: name for name in ("recipient", "sent_at", "opened_at")}


def test_a_field_can_be_taken_away():
    """A ready mapping's column that the file lacks is done without."""
    short = [name for name in REES46 if name != "is_blocked"]
    with pytest.raises(ConfigurationError, match="names is_blocked, which the file lacks"):
        mapping_of("rees46", short, {})
    assert mapping_of("rees46", short, {"bounced": ""}).names("bounced") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[columns\n", "is no mapping"),
        ("[colums]\n", "unknown field `colums`"),
        ("[times]\nunit = 'days'\n", "days"),
        ("[columns]\nrecipient = 'a'\nsent_at = 'b'\nopend = 'c'\n", "unknown fields ['opend']"),
        ("[columns]\nrecipient = ['a', 'b']\nsent_at = 'b'\nopened = 'c'\n", "'recipient'"),
        ("[columns]\nrecipient = 'a'\nopened = 'c'\n", "'sent_at'"),
        ("[columns]\nrecipient = 'a'\nsent_at = 'b'\n", "what was opened"),
        ("[columns]\nrecipient = 'z'\nsent_at = 'b'\nopened = 'c'\n", "which the file lacks"),
        (
            "[columns]\nrecipient = 'a'\nsent_at = 'b'\nopened = 'c'\n[constants]\ntime_zone='x'\n",
            "'x' is no IANA time zone",
        ),
    ],
)
def test_mistakes_are_told(tmp_path, text, told):
    """A configuration error that quotes what is wrong and lists what is there."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        mapping_of(str(path), ["a", "b", "c"], {})
    assert told in str(raised.value)
