"""Drift: a shift raises its own series' alarm, a placebo raises none, missing data count."""

import numpy as np
import pytest

from clients.blocks import block, cut, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.events.messages import CONTENT_FIELDS

SETTINGS = ClientSettings(
    reference_rows=2_000,
    minimum_count=100,
    window_ms=60_000,
    window_lateness_ms=10_000,
    dwell_windows=2,
)


def _alerts(change=None) -> list:
    """Alerts of two clients: labels to mature, a reference, then 20,000 rows; `change` at half."""
    partition = ClientPartition(0, SETTINGS)
    partition.apply(block(example_rows(5_000, clients=2, seed=3), "label"))
    alerts = []
    for part in range(6):
        rows = example_rows(5_000, clients=2, seed=10 + part, first=5_000 * part)
        if change and part >= 3:
            change(rows, rows["client"] == 1)
        for piece in cut(rows, "exposure", [1_000]):
            alerts += partition.apply(piece).alerts
    return alerts


def _longer_subjects(rows, mine) -> None:
    rows["content"][mine, 0] += 25


def _no_links(rows, mine) -> None:
    rows["content"][mine, 2] = np.nan


def _strangers(rows, mine) -> None:
    for name in ("sends", "opens", "clicks", "recent_sends", "recent_opens"):
        rows[name][mine] = 0
    rows["hours_since_send"][mine] = rows["hours_since_open"][mine] = np.nan


def test_placebo_raises_nothing() -> None:
    """Over fifty windows and twenty-eight series without a change there is no alarm."""
    assert _alerts() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_longer_subjects, "subject_length"),
        (_no_links, "links"),
        (_strangers, "log_sends"),
    ],
)
def test_a_shift_raises_its_own_alarm(change, expected) -> None:
    """The series that changed fires, critically, for that client only and only once."""
    alerts = _alerts(change)
    assert {a.client_id for a in alerts} == {"client-1"}
    firing = [a for a in alerts if a.feature == expected]
    assert [a.state for a in firing] == ["firing"]
    assert firing[0].severity == "critical"
    assert firing[0].value > SETTINGS.psi_critical
    assert firing[0].p_value < 1e-6
    assert len({a.id for a in alerts}) == len(alerts)


def test_summary_names_the_series_that_drifted() -> None:
    """The newest summary has the largest effect, its series, its convention and the state."""
    partition = ClientPartition(0, SETTINGS)
    for part in range(6):
        rows = example_rows(5_000, clients=1, seed=10 + part, first=5_000 * part)
        if part >= 3:
            _longer_subjects(rows, rows["client"] == 0)
        outcome = partition.apply(block(rows, "exposure"))
    summary = partition.summaries()[1]
    assert summary.drift_feature == "subject_length"
    assert summary.drift_state == "firing"
    assert summary.drift_convention == "psi.refdecile"
    assert summary.drift > SETTINGS.psi_critical
    assert summary.windows > 20
    assert {m.n_reference for m in outcome.metrics} == {2_000}
    assert {m.feature for m in outcome.metrics} <= set(CONTENT_FIELDS)


def test_loss_alarm_rises_with_the_loss_only() -> None:
    """Opens that turn into chance raise an alarm, a return closes it; learning raises none."""
    partition = ClientPartition(0, SETTINGS)
    told = []
    for part in range(12):
        rows = example_rows(1_500, clients=1, seed=20 + part, first=1_500 * part)
        if not 6 <= part < 8:
            rows["opened"][:] = rows["opens"] > 0.3 * rows["sends"]
        alerts = partition.apply(block(rows, "label")).alerts
        told += [(part, a.metric, a.state, a.value > a.threshold) for a in alerts]
    assert [t[1:3] for t in told] == [("log_loss", "firing"), ("log_loss", "resolved")]
    assert told[0][0] in (6, 7)
    assert told[0][3]
    assert not told[1][3]
