"""What sending at other hours would have done, told twice: by the model, and by the log itself.

By the model: its P(open) at the best hour of the day less that at the hour of the send, told before
each send. As good as the model, and no better. Its interval takes a recipient's errors as one and
recipients as independent::

    variance of the sum = sum over recipients (sum over sends sqrt(s_used^2 + s_best^2))^2

where s is the deviation of a probability (delta method, deviation of the logit * p * (1 - p)).

By the log: sends that went out, by whatever chance, at the hours the model would have chosen,
weighed by how likely that was (`send_hours`), with the estimators of `off_policy`. The model only
chooses; what counts are the opens in the log. The target takes, of the bins the client's log
covers on that weekday, the one the model held best before the send. This holds as far as the hour
of a send had nothing to do with how ready its recipient was to open just then, beyond client,
weekday and recipient: if better messages went out at better hours, it calls that the hour. Since a
day's sends share their message, the interval is the wider one of those over recipients and over
days, and weights are judged by days too. Where the log says too little: refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.rhythm import BIN_HOURS, BINS
from sendtide.lab.backtest import Foreseen
from sendtide.lab.off_policy import Decisions, PolicyValue, evaluate, refusal
from sendtide.lab.send_hours import COVERED_DAYS, SendHours, send_hours

__all__ = ["ByLog", "ByModel", "Sent", "by_log", "by_model", "sender_hours"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MIN_DAYS: Final = 20
"""Days' worth of sends at the target's hours below which hours cannot be told from days."""
_FEW_DAYS: Final = (
    "the sends at the hours the model would have chosen are worth {days} days, "
    f"{MIN_DAYS} are needed: a day's sends share their message, so its hour cannot be told from "
    "it; vary hours within a day, or give a longer log"
)
_THIN: Final = (
    f"no weekday has two slots that were used on {COVERED_DAYS} days or more: a day's sends share "
    "their message, so its hour cannot be told from it; vary hours within a day, or give a longer "
    "log"
)
_FIXED_SHARE: Final = 0.9
_NORMAL_975: Final = 1.959964
_CONTEXT_CLIENTS: Final = 50
_DAYS_A_WEEK: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """n sends.

    client, recipient: codes; names: of the clients. day: number of each send's day (UTC).
    hour_of_week: on the recipient's clock.
    """

    names: list[str]
    client: I64
    recipient: I64
    day: I64
    hour_of_week: I64


@dataclass(frozen=True, slots=True, kw_only=True)
class ByModel:
    """Mean P(open) at the hours used and at the best ones; actual: the share that was opened.

    outside: share of the best hours at which the client's log has nothing to show: there the model
    speaks of what it never saw this client do.
    """

    sends: int
    used: float
    best: float
    lift: float
    interval: tuple[float, float]
    actual: float
    outside: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLog:
    """Estimate from the log, None with the reason where it is refused.

    sends: behind it; left_out: of clients whose log covers one bin. clustered_by: over what the
    interval is. model_lift: what the model says of the same sends and the same target.
    agreeing: share of the sends that went out as the target would have sent them. days: with such
    sends, in their worth (Kish 1965).
    within_days: share of client's days on which more than one covered bin was used.
    concentration: smallest and largest over clients.
    """

    sends: int
    left_out: int
    value: PolicyValue | None
    reason: str | None
    clustered_by: str | None
    model_lift: float
    agreeing: float
    days: float
    within_days: float
    concentration: tuple[float, float]


def sender_hours(sent: Sent) -> SendHours:
    """How the sends got their hours."""
    weekday, hour = sent.hour_of_week // 24, sent.hour_of_week % 24
    whose = sent.client, sent.recipient, sent.day, len(sent.names)
    return send_hours(hour // BIN_HOURS, weekday, *whose)


def by_model(seen: Foreseen, sent: Sent, hours: SendHours) -> ByModel:
    """The model's own opinion of the labelled sends."""
    rows = seen.labelled
    weekday = sent.hour_of_week[rows] // 24
    covered = hours.covered[sent.client[rows], weekday, seen.best_hour[rows] // BIN_HOURS]
    used, best = seen.used[rows].astype(np.float64), seen.best[rows].astype(np.float64)
    spread = np.hypot(
        seen.used_deviation[rows] * used * (1 - used), seen.best_deviation[rows] * best * (1 - best)
    )
    by_recipient = np.bincount(sent.recipient[rows], spread)
    lift = float((best - used).mean())
    reach = _NORMAL_975 * float(np.sqrt((by_recipient**2).sum())) / len(used)
    return ByModel(
        sends=len(used),
        used=float(used.mean()),
        best=float(best.mean()),
        lift=lift,
        interval=(lift - reach, lift + reach),
        actual=float(seen.facts[rows, 0].mean()),
        outside=float(1 - covered.mean()),
    )


def by_log(seen: Foreseen, sent: Sent, hours: SendHours, seed: int = 1) -> ByLog:
    """What the log says of the hours the model would have chosen."""
    weekday = sent.hour_of_week // 24
    spoken = (hours.covered.sum(axis=2) > 1)[sent.client, weekday]
    rows = np.flatnonzero(seen.labelled & spoken)
    left_out = int((seen.labelled & ~spoken).sum())
    if len(np.unique(sent.day[rows])) < 2:
        return _nothing(_unspoken(hours, sent), hours, left_out)
    client, bins = sent.client[rows], sent.hour_of_week[rows] % 24 // BIN_HOURS
    covered = hours.covered[client, weekday[rows]]
    known = np.where(covered, seen.by_bin[rows], -1.0)
    target, day = known.argmax(axis=1), _codes(client, sent.day[rows])
    decisions = Decisions(
        action=bins,
        actions=BINS,
        propensity=hours.propensity[rows],
        reward=seen.facts[rows, 0].astype(np.float64),
        cluster=_codes(sent.recipient[rows]),
        context=_context(seen, sent, rows),
    )
    value, by = _wider(decisions, day, target, seed)
    days, error = _by_days((target == bins) / decisions.propensity, day)
    at = np.arange(len(rows))
    usual = covered[at, bins]
    return ByLog(
        sends=len(rows),
        left_out=left_out,
        value=value,
        reason=_reason(value, days, error),
        clustered_by=by,
        model_lift=float((known[at, target] - seen.by_bin[rows, bins]).mean()),
        agreeing=float((target == bins).mean()),
        days=days,
        within_days=_within_days(day[usual], bins[usual]),
        concentration=_span(hours),
    )


def _reason(value: PolicyValue, days: float, error: float) -> str | None:
    """Why nothing can be said; error: of the mean weight, over days."""
    error = max(error, value.overlap.weight_error)
    few = _FEW_DAYS.format(days=f"{days:.1f}") if days < MIN_DAYS else None
    return refusal(replace(value.overlap, weight_error=error)) or few


def _codes(*columns: I64) -> I64:
    """(n,) code of each distinct row of the columns, from 0."""
    _, code = np.unique(np.stack(columns), axis=1, return_inverse=True)
    return np.asarray(code.reshape(-1), np.int64)


def _by_days(weight: F64, day: I64) -> tuple[float, float]:
    """Days' worth of weight, and the standard error of the mean weight over days."""
    sums = np.bincount(day, weight)
    squares = float((sums**2).sum())
    days = float(sums.sum()) ** 2 / squares if squares else 0.0
    apart = np.bincount(day, weight - weight.mean())
    return days, float(np.sqrt((apart**2).sum())) / len(weight)


def _wider(decisions: Decisions, day: I64, target: I64, seed: int) -> tuple[PolicyValue, str]:
    """The estimate with the wider interval of its lift, and over what that is."""
    found = []
    for name, cluster in (("recipient", decisions.cluster), ("day", day)):
        if not cluster.any():
            continue  # one cluster has no spread
        value = evaluate(replace(decisions, cluster=cluster), target, seed)
        low, high = value.lift_interval
        found.append((high - low, name, value))
    _, by, value = max(found, key=lambda each: each[0])
    return value, by


def _context(seen: Foreseen, sent: Sent, rows: I64) -> F64:
    """What the reward model may use: nothing that depends on the hour of the send."""
    weekday = sent.hour_of_week[rows] // 24
    parts = [seen.level[rows].astype(np.float64)[:, None], np.eye(_DAYS_A_WEEK)[weekday][:, 1:]]
    if 1 < len(sent.names) <= _CONTEXT_CLIENTS:
        parts.append(np.eye(len(sent.names))[sent.client[rows]][:, 1:])
    return np.column_stack(parts)


def _within_days(day: I64, bins: I64) -> float:
    if not len(day):
        return 0.0
    pairs = np.unique(np.stack([day, bins]), axis=1)[0]
    return float((np.bincount(pairs)[np.unique(day)] > 1).mean())


def _span(hours: SendHours) -> tuple[float, float]:
    return float(hours.concentration.min()), float(hours.concentration.max())


def _unspoken(hours: SendHours, sent: Sent) -> str:
    """Why nothing can be said where no weekday has two slots."""
    if len(np.unique(sent.day)) < MIN_DAYS:
        return _FEW_DAYS.format(days=len(np.unique(sent.day)))
    largest = int(np.bincount(sent.client).argmax())
    mine = sent.client == largest
    sends = np.bincount(sent.hour_of_week[mine] // 24, minlength=len(hours.share[largest]))
    fixed = float((hours.share[largest].max(axis=1) * sends).sum() / sends.sum())
    if fixed < _FIXED_SHARE:
        return _THIN
    place = int(hours.share[largest, int(sends.argmax())].argmax()) * BIN_HOURS
    return (
        f"{fixed:.1%} of the sends of {sent.names[largest]!r} go out in the usual slot of their "
        f"weekday, {place:02d}:00 to {place + BIN_HOURS:02d}:00 on the busiest: a fixed slot says "
        "nothing of other hours; send a share of recipients at drawn hours, and keep the "
        "probability"
    )


def _nothing(reason: str, hours: SendHours, left_out: int) -> ByLog:
    return ByLog(
        sends=0,
        left_out=left_out,
        value=None,
        reason=reason,
        clustered_by=None,
        model_lift=float("nan"),
        agreeing=float("nan"),
        days=0.0,
        within_days=0.0,
        concentration=_span(hours),
    )
