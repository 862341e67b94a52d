"""Outgoing records, as a reader of the topic finds them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.events.errors import CorruptData
from sendtide.events.messages import (
    AlertMessage,
    DeadLetterHeaders,
    MetricMessage,
)
from sendtide.sinks.topics import (
    alert_record,
    dead_letter_headers,
    dead_letter_record,
    metric_record,
)

AT_MS = 1_790_000_000_000


def test_metric_and_alert():
    """Metrics and alerts are keyed by client."""
    metric = MetricMessage(
        id="acme/send_time/psi/1", client_id="acme", metric="drift", value=None,
        window_start_ms=0, window_end_ms=60_000, as_of_ms=60_000,
    )  # fmt: skip
    alert = AlertMessage(
        id="a", client_id="acme", metric="drift", state="firing", severity="warning", value=0.3,
        threshold=0.2, since_ms=0, as_of_ms=1, description="words drifted",
    )  # fmt: skip

    for message, record, topic in (
        (metric, metric_record(metric), "ml.metrics"),
        (alert, alert_record(alert), "ml.alerts"),
    ):
        assert (record.topic, record.key) == (topic, b"acme")
        assert msgspec.json.decode(record.value, type=type(message)) == message


@given(
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    detail=st.text(),
    offset=st.integers(0, 2**63 - 1),
)
def test_dead_letter(key, value, detail, offset):
    """Any bytes pass untouched, and the headers tell the same story to their reader."""
    headers = DeadLetterHeaders(
        reason="bad_json", detail=detail, topic="email.sends", partition=3, offset=offset,
        timestamp_ms=AT_MS,
    )  # fmt: skip

    record = dead_letter_record(key, value, headers)

    assert (record.key, record.value) == (key, value)
    assert dead_letter_headers([("traceparent", b"\xff"), *record.headers]) == headers


@pytest.mark.parametrize(
    "headers", [[], [("sendtide-reason", b"bad_json")], [("sendtide-offset", b"\xff")]]
)
def test_no_dead_letter(headers):
    """Headers of another record are refused by name."""
    with pytest.raises(CorruptData, match="dead letter"):
        dead_letter_headers(headers)
