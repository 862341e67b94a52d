"""Judgements as messages. Their ids name the series and the window, so repeats can be dropped."""

from __future__ import annotations

from typing import Final

import numpy as np

from sendtide.clients.challengers import Advice, Failure
from sendtide.clients.loss_alarms import LossChange
from sendtide.clients.settings import ClientSettings
from sendtide.clients.watching import SERIES, JudgedWindow
from sendtide.events.messages import AlertMessage, MetricMessage
from sendtide.monitoring.psi import CONVENTION

__all__ = ["drift_alerts", "drift_metrics", "failure_alert", "loss_alert", "promotion_alert"]

_ADWIN: Final = "log_loss.adwin"


def drift_metrics(
    window: JudgedWindow, names: list[str], settings: ClientSettings
) -> list[MetricMessage]:
    """One number for each series judged in the window."""
    return [
        MetricMessage(
            id=f"psi:{window.start_ms}:{names[row]}:{SERIES[series]}",
            client_id=names[row],
            model=settings.model_of("open"),
            feature=SERIES[series],
            metric="psi",
            convention=CONVENTION,
            value=float(window.effects[row, series]),
            p_value=float(window.p_values[row, series]),
            n_reference=int(window.n_reference[row, series]),
            n_current=int(window.n_current[row, series]),
            window_start_ms=window.start_ms,
            window_end_ms=window.end_ms,
            as_of_ms=window.end_ms,
        )
        for row, series in np.argwhere(window.judged).tolist()
    ]


def drift_alerts(
    window: JudgedWindow, names: list[str], settings: ClientSettings
) -> list[AlertMessage]:
    """The alarms this window opened and closed."""
    changes = window.changes
    return [
        _drift_alert(window, row, series, since_ms, firing, names[row], settings)
        for firing, cells, since in (
            (True, changes.firing, changes.firing_since_ms),
            (False, changes.resolved, changes.resolved_since_ms),
        )
        for (row, series), since_ms in zip(cells.tolist(), since.tolist(), strict=True)
    ]


def _drift_alert(
    window: JudgedWindow,
    row: int,
    series: int,
    since_ms: int,
    firing: bool,
    client_id: str,
    settings: ClientSettings,
) -> AlertMessage:
    value, p = float(window.effects[row, series]), float(window.p_values[row, series])
    n, m = int(window.n_reference[row, series]), int(window.n_current[row, series])
    state, verb = ("firing", "differs from") if firing else ("resolved", "is again like")
    return AlertMessage(
        id=f"psi:{window.start_ms}:{client_id}:{SERIES[series]}:{state}",
        client_id=client_id,
        model=settings.model_of("open"),
        feature=SERIES[series],
        metric="psi",
        state="firing" if firing else "resolved",
        severity="critical" if value >= settings.psi_critical else "warning",
        value=value,
        threshold=settings.psi_floor,
        p_value=p,
        since_ms=since_ms,
        as_of_ms=window.end_ms,
        description=f"{SERIES[series]} {verb} its reference: PSI {value:.3f}, p {p:.2g} "
        f"({CONVENTION}, {m} rows against {n}), {settings.dwell_windows} windows in a row",
    )


def loss_alert(change: LossChange, client_id: str, settings: ClientSettings) -> AlertMessage:
    """The log loss got worse, or is no longer called worse."""
    state, verb = ("firing", "rose") if change.firing else ("resolved", "went")
    return AlertMessage(
        id=f"adwin:{change.at_ms}:{client_id}:{state}",
        client_id=client_id,
        model=settings.model_of("open"),
        metric="log_loss",
        state="firing" if change.firing else "resolved",
        severity="warning",
        value=change.after,
        threshold=change.before,
        since_ms=change.since_ms,
        as_of_ms=change.at_ms,
        description=f"log loss {verb} from {change.before:.3f} to {change.after:.3f} ({_ADWIN}, "
        f"delta {settings.adwin_delta:g})",
    )


def failure_alert(failure: Failure, client_id: str) -> AlertMessage:
    """A challenger raised and was put aside. value: labels it had learned."""
    return AlertMessage(
        id=f"challenger:{failure.at_ms}:{client_id}:{failure.model}",
        client_id=client_id,
        model=failure.model,
        metric="learned",
        state="firing",
        severity="warning",
        value=failure.learned,
        threshold=failure.learned + 1,
        since_ms=failure.at_ms,
        as_of_ms=failure.at_ms,
        description=f"the challenger raised after {failure.learned} labels and learns no more: "
        f"{failure.reason}; mend its class or params in the pipeline file, which starts it anew",
    )


def promotion_alert(advice: Advice, client_id: str) -> AlertMessage:
    """A challenger should take the built-in model's place, or no longer. value: its gain."""
    state, verb = ("firing", "is better") if advice.better else ("resolved", "is worse")
    return AlertMessage(
        id=f"promotion:{advice.at_ms}:{client_id}:{advice.model}:{state}",
        client_id=client_id,
        model=advice.model,
        metric="gain",
        state="firing" if advice.better else "resolved",
        severity="warning",
        value=advice.gain,
        threshold=0.0,
        since_ms=advice.at_ms,
        as_of_ms=advice.at_ms,
        description=f"the challenger {verb} than the built-in model: log loss lower by "
        f"{advice.gain:.4f}, {advice.low:.4f} to {advice.high:.4f} over {advice.rows} labels, an "
        "interval that may be looked at all the time; nothing is switched by itself",
    )
