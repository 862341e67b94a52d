"""What `sendtide lab history` tells, under fixed keys.

- `file`, `mapping`, `horizon_ms`; `rows`: {read, left_out, refused, used}; `refused`: [{reason,
  meaning, rows, examples}]; `remarks`: [{reason, meaning, rows}]; `period`: {first, last};
  `recipients`; `clients`: [{client, sends, recipients, open_rate, auc}], the 20 largest;
  `client_count`
- `labelled`: sends whose horizon is over, bounces left out: all that follows is about these;
  `unfinished`: those whose horizon is not; `outcomes`: {opened, clicked, bounced, unsubscribed,
  complained, converted, machine_opened, revenue}; `drawn_open_times`: share of opens
- `open`, `click`: {rate; `model`, `at_send`, `beta_binomial`, `client_rate`: {auc, log_loss, ece};
  `calibration`: [{rows, predicted, rate}] of at_send; `months`: [{month, rows, rate, predicted;
  `model`, `at_send`, `beta_binomial`, `client_rate`: {auc, log_loss, ece}}]}. `model`: predicted
  when the label was about to be learned; `at_send`: when it was sent. `open` has `send_time` too:
  what the send-time model said of the hour of the send, before it
- `drift`: {window_days; floor; `series`: [{feature, client, points: [[time_ms, psi]]}], the five
  largest, and `months`: [{month, psi, feature, client}], both without the messages' content, which
  differs from one to the next; `alarms`: [{since, metric, feature, client, description}]}
- `send_time`: {`recipients_with_sends`: {"1", "10", "30"}, shares; `tiers`: share of sends by whose
  history answered; `used`, `recommended`: [24] shares by hour of the day; `used_week`,
  `recommended_week`: [168], the latter of recipients, at the end; within_one_hour;
  mean_hours_apart}
- `would_have`: {`verdict`: gain | no_gain | loss | cannot_tell; `sentence`; `by_model`: {sends,
  used, best, lift, interval, actual, outside}; `by_log`: {refused, reason, sends, left_out, logged,
  estimate, interval, lift, lift_interval, ips, snips, switch_dr, effective_sample_size,
  effective_days, mean_weight, clustered_by, agreeing, within_days, concentration, model_lift}}
- `seconds`

Numbers that there are none of are null. Definitions: `lab.hindsight`, `lab.evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide import lab
from sendtide.connectors.history import History
from sendtide.connectors.mapping import FACTS
from sendtide.connectors.tables import NEVER
from sendtide.events.messages import CONTENT_FIELDS, MetricMessage
from sendtide.events.records import TIERS, SlotScores
from sendtide.models.propensity import TARGETS

__all__ = ["result_of"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_CLIENTS: Final = 20
_SERIES: Final = 5
_ENOUGH: Final = (1, 10, 30)
_PSI_FLOOR: Final = 0.1
_DAY_MS: Final = 86_400_000


def result_of(history: History, test: lab.Backtest, hour_of_week: I64) -> dict[str, Any]:
    """All keys but those of the run itself, of a test that is over."""
    seen = test.seen
    sent = lab.Sent(
        names=history.clients,
        client=history.client,
        recipient=history.recipient,
        day=history.sent_at_ms // _DAY_MS,
        hour_of_week=hour_of_week,
    )
    bounced = history.facts.at_ms["bounced"] != NEVER
    return {
        **_read(history),
        "labelled": int(seen.labelled.sum()),
        "unfinished": int((~seen.labelled & ~bounced).sum()),
        "outcomes": _outcomes(history),
        "drawn_open_times": _share(history.facts.drawn, history.facts.at_ms["opened"] != NEVER),
        **{name: _quality(history, seen, TARGETS.index(name)) for name in ("open", "click")},
        "clients": _clients(history, seen),
        "client_count": len(history.clients),
        "drift": {"window_days": test.window_days, **_drift(seen)},
        "send_time": _send_time(seen, hour_of_week, test.everybody()),
        "would_have": _would_have(seen, sent),
    }


def _read(history: History) -> dict[str, Any]:
    refused = sum(refusal.rows for refusal in history.refusals)
    first, last = history.sent_at_ms[[0, -1]].tolist()
    return {
        "rows": {
            "read": history.rows,
            "left_out": history.left_out,
            "refused": refused,
            "used": len(history),
        },
        "refused": [asdict(refusal) for refusal in history.refusals],
        "remarks": [asdict(remark) for remark in history.remarks],
        "period": {"first": _iso(first), "last": _iso(last)},
        "recipients": len(history.ids),
    }


def _iso(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms').astype('datetime64[s]')}Z"


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / max(int(whole.sum()), 1))


def _outcomes(history: History) -> dict[str, float]:
    facts = history.facts
    counts: dict[str, float] = {fact: int((facts.at_ms[fact] != NEVER).sum()) for fact in FACTS}
    counts["opened"] -= int(facts.machine.sum())
    return {
        **counts,
        "machine_opened": int(facts.machine.sum()),
        "revenue": float(facts.revenue.sum()),
    }


def _numbers(label: NDArray[np.bool_], prediction: F64) -> dict[str, float]:
    found = lab.score(label, prediction)
    return {
        "auc": found.auc,
        "log_loss": found.log_loss,
        "ece": lab.calibration_error(label, prediction),
    }


def _quality(history: History, seen: lab.Foreseen, target: int) -> dict[str, Any]:
    """Scores of the labelled sends, over all and by month."""
    rows = np.flatnonzero(seen.labelled)
    label, at_ms = seen.facts[rows, target], history.sent_at_ms[rows]
    predictions = {
        "model": seen.progressive[rows, target].astype(np.float64),
        "at_send": seen.at_send[rows, target].astype(np.float64),
        "beta_binomial": lab.beta_binomial(history.recipient[rows], at_ms, label),
        "client_rate": lab.beta_binomial(history.client[rows], at_ms, label),
    }
    if TARGETS[target] == "open":
        predictions["send_time"] = seen.used[rows].astype(np.float64)
    curve = lab.calibration_curve(label, predictions["at_send"])
    return {
        "rate": float(label.mean()),
        **{name: _numbers(label, found) for name, found in predictions.items()},
        "calibration": [
            dict(zip(("rows", "predicted", "rate"), point, strict=True)) for point in curve
        ],
        "months": _months(at_ms, label, predictions),
    }


def _months(
    at_ms: I64, label: NDArray[np.bool_], predictions: dict[str, F64]
) -> list[dict[str, Any]]:
    names = lab.month_names(at_ms)
    told = {name: lab.by_period(names, label, found) for name, found in predictions.items()}
    measures = ("auc", "log_loss", "ece")
    return [
        {
            "month": month,
            "rows": numbers["rows"],
            "rate": numbers["rate"],
            "predicted": told["at_send"][month]["predicted"],
            **{name: {m: told[name][month][m] for m in measures} for name in predictions},
        }
        for month, numbers in told["model"].items()
    ]


def _clients(history: History, seen: lab.Foreseen) -> list[dict[str, Any]]:
    counts = np.bincount(history.client, minlength=len(history.clients))
    rows = []
    for code in np.argsort(-counts, kind="stable")[:_CLIENTS].tolist():
        mine = history.client == code
        scored = mine & seen.labelled
        label = seen.facts[scored, 0]
        rows.append(
            {
                "client": history.clients[code],
                "sends": int(counts[code]),
                "recipients": len(np.unique(history.recipient[mine])),
                "open_rate": float(label.mean()) if len(label) else None,
                "auc": lab.auc(label, seen.at_send[scored, 0].astype(np.float64)),
            }
        )
    return rows


def _drift(seen: lab.Foreseen) -> dict[str, Any]:
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for metric in seen.metrics:
        if metric.value is not None:
            key = (metric.feature or metric.metric, metric.client_id)
            series.setdefault(key, []).append((metric.window_start_ms, metric.value))
    largest = sorted(
        (key for key in series if key[0] not in CONTENT_FIELDS),
        key=lambda key: -max(value for _, value in series[key]),
    )[:_SERIES]
    firing = [alert for alert in seen.alerts if alert.state == "firing"]
    return {
        "floor": _PSI_FLOOR,
        "series": [
            {"feature": feature, "client": client, "points": sorted(series[feature, client])}
            for feature, client in largest
        ],
        "months": _worst_by_month(seen.metrics),
        "alarms": [
            {
                "since": _iso(alert.since_ms),
                "metric": alert.metric,
                "feature": alert.feature,
                "client": alert.client_id,
                "description": alert.description,
            }
            for alert in sorted(firing, key=lambda alert: alert.since_ms)
        ],
    }


def _worst_by_month(metrics: Sequence[MetricMessage]) -> list[dict[str, Any]]:
    worst: dict[str, MetricMessage] = {}
    for metric in metrics:
        if metric.feature in CONTENT_FIELDS:
            continue
        month = str(lab.month_names(np.array([metric.window_start_ms]))[0])
        if month not in worst or (metric.value or 0.0) > (worst[month].value or 0.0):
            worst[month] = metric
    return [
        {"month": month, "psi": m.value, "feature": m.feature, "client": m.client_id}
        for month, m in sorted(worst.items())
    ]


def _send_time(seen: lab.Foreseen, hour_of_week: I64, everybody: SlotScores) -> dict[str, Any]:
    used, best = hour_of_week % 24, seen.best_hour.astype(np.int64)
    apart = np.abs(used - best)
    apart = np.minimum(apart, 24 - apart)
    tiers = np.bincount(seen.tier, minlength=len(TIERS)) / len(seen.tier)
    return {
        "recipients_with_sends": {
            str(least): float((everybody.effective >= least).mean()) for least in _ENOUGH
        },
        "tiers": dict(zip(TIERS, tiers.tolist(), strict=True)),
        "used": _shares(used, 24),
        "recommended": _shares(best, 24),
        "used_week": _shares(hour_of_week, 168),
        "recommended_week": _shares(everybody.scores.argmax(axis=1), 168),
        "within_one_hour": float((apart <= 1).mean()),
        "mean_hours_apart": float(apart.mean()),
    }


def _shares(values: I64, cells: int) -> list[float]:
    counts = np.bincount(values, minlength=cells)
    return [float(share) for share in counts / max(len(values), 1)]


def _would_have(seen: lab.Foreseen, sent: lab.Sent) -> dict[str, Any]:
    hours = lab.sender_hours(sent)
    model, log = lab.by_model(seen, sent, hours), lab.by_log(seen, sent, hours)
    verdict = _verdict(log)
    return {
        "verdict": verdict,
        "sentence": _sentence(verdict, model, log),
        "by_model": asdict(model),
        "by_log": _by_log(log),
    }


def _by_log(log: lab.ByLog) -> dict[str, Any]:
    value, refused = log.value, log.reason is not None
    told = value if value is not None and not refused else None
    overlap = value.overlap if value is not None else None
    return {
        "refused": refused,
        "reason": log.reason,
        "sends": log.sends,
        "left_out": log.left_out,
        "logged": value.logged if value else None,
        "estimate": told.dr if told else None,
        "interval": told.interval if told else None,
        "lift": told.lift if told else None,
        "lift_interval": told.lift_interval if told else None,
        "ips": told.ips if told else None,
        "snips": told.snips if told else None,
        "switch_dr": told.switch_dr if told else None,
        "effective_sample_size": overlap.effective if overlap else None,
        "effective_days": log.days,
        "mean_weight": overlap.mean_weight if overlap else None,
        "clustered_by": log.clustered_by,
        "agreeing": log.agreeing,
        "within_days": log.within_days,
        "concentration": log.concentration,
        "model_lift": log.model_lift,
    }


def _verdict(log: lab.ByLog) -> str:
    if log.value is None or log.reason is not None:
        return "cannot_tell"
    low, high = log.value.lift_interval
    if low > 0:
        return "gain"
    return "loss" if high < 0 else "no_gain"


def _sentence(verdict: str, model: lab.ByModel, log: lab.ByLog) -> str:
    """The verdict for people."""
    believed = f"The model itself expects {100 * model.lift:+.1f} points"
    if verdict == "cannot_tell" or log.value is None:
        return (
            f"This log cannot tell what other hours would have brought. {believed}: an opinion, "
            f"and for {model.outside:.0%} of the sends about hours at which it saw next to nothing"
        )
    low, high = (100 * end for end in log.value.lift_interval)
    told = f"{100 * log.value.lift:+.1f} points of open rate ({low:+.1f} to {high:+.1f})"
    return {
        "gain": f"This log speaks for other hours: {told} had mail gone out when the model says",
        "no_gain": f"This log shows no gain that could be told from chance: {told}",
        "loss": f"This log speaks against the model's hours: {told}",
    }[verdict]
