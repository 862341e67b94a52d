"""A model's card: what it is for, on what data, how good, for whom less so, and where it ends.

After Mitchell, Wu, Zaldivar, Barnes, Vasserman, Hutchinson, Spitzer, Raji and Gebru, "Model Cards
for Model Reporting" (2019): model details, intended use, factors, metrics, evaluation and training
data (here the same rows, each predicted before it was learned), quantitative analyses by group,
caveats. Every number is read from the live state at the moment of asking; one that is not known is
None, and is shown as not known.
"""

from __future__ import annotations

from typing import Any, Final

from sendtide.dashboard.fairness import MIN_GROUP_LABELS, fairness
from sendtide.dashboard.live import client_sources
from sendtide.endpoint.explaining import client_state
from sendtide.events.groups import BANDS
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.models.explanation import ClientExplainer
from sendtide.models.propensity import TARGETS
from sendtide.models.registry import ModelState
from sendtide.sinks import ModelSummary, Reader

__all__ = ["model_card"]

_EVENTS: Final = {
    "open": "opened by a person",
    "click": "clicked in",
    "unsubscribe": "answered by an unsubscription",
    "complaint": "complained about",
    "bounce": "returned as undeliverable",
}
_LIMITS: Final = {
    "open": (
        "An open is an image loaded: a person who reads without images counts as a never-opener.",
        "Opens by machines, told by mark, agent, haste, burst or volume, are not learned from.",
        "A machine in disguise that takes its time over single messages still looks like a person.",
    ),
    "bounce": ("A bounced send teaches this model alone; it was no exposure.",),
}
_ALL_LIMITS: Final = (
    "A label is final when its horizon is over; until then the send is censored, not negative.",
    "Only what was sent is learned from: it says nothing of people who are never mailed.",
    "Contributions say what the model does with a feature, not what causes the outcome.",
)
_HOURS_LIMITS: Final = (
    "Never-openers are a class of their own: their hours are those of their population.",
    "Opens cluster after whatever time was sent; they are learned per send, at the hour sent.",
    "A recipient whose time zone nobody told is taken to live in UTC.",
)


def model_card(reader: Reader, client: str, model: str, now_ms: int) -> dict[str, Any] | None:
    """Card of one client's model as of now; None if no such model has reported.

    Raises:
        Unavailable: the store does not answer.
    """
    models = {row.summary.model: row for row in reader.metrics(client)}
    found = models.get(model)
    if found is None:
        return None
    own = found.summary
    target = next((t for t in TARGETS if model.startswith(f"{t}-")), None)
    kind = (
        "send_time" if own.hour_scores else "challenger" if own.gain is not None else "propensity"
    )
    target = target if kind == "propensity" else None
    state = client_state(reader, client, "propensity")
    return {
        "client": client,
        "model": model,
        "kind": kind,
        "version": own.model_version,
        "made_at_ms": now_ms,
        "predicts": _predicts(kind, target),
        "data": _data(reader, own, state, target, now_ms),
        "metrics": _metrics(own),
        "drift": _drift(own),
        "freshness": {"seconds": found.freshness_s, "stale": found.stale},
        "features": _features(state, target, own),
        "fairness": fairness(state, target),
        "limits": _limits(kind, target, own),
        "reproduce": _reproduce(own),
    }


def _predicts(kind: str, target: str | None) -> str:
    if kind == "send_time":
        return (
            "the hour of the week, recipient's local time, at which a message is likeliest opened"
        )
    if kind == "challenger":
        return "the probability that a message is opened by a person; compared, never served"
    return f"the probability that a message is {_EVENTS.get(target or 'open', 'answered')}"


def _data(
    reader: Reader, own: ModelSummary, state: ModelState | None, target: str | None, now_ms: int
) -> dict[str, Any]:
    rows = state.columns.get("groups.rows") if state is not None else None
    began = state.columns.get("groups.began_ms") if state is not None else None
    positives = None
    if state is not None and rows is not None and target is not None:
        zones = state.columns["groups.places"] < len(BANDS)
        positives = int(rows[TARGETS.index(target), zones, 1].sum())
    return {
        "sends": own.events,
        "labels": own.learned,
        "positives": positives,
        "open_rate": own.open_rate,
        "from_ms": int(began[0]) if began is not None else None,
        "to_ms": own.newest_event_ms,
        "sources": [row["source"] for row in client_sources(reader, own.client_id, now_ms)],
    }


def _metrics(own: ModelSummary) -> dict[str, Any]:
    names = ("log_loss", "auc", "brier", "ece", "gain", "gain_low", "gain_high", "promotion")
    return {name: getattr(own, name) for name in names}


def _drift(own: ModelSummary) -> dict[str, Any]:
    return {
        "state": own.drift_state,
        "effect": own.drift,
        "p_value": own.drift_p_value,
        "feature": own.drift_feature,
        "convention": own.drift_convention,
        "windows": own.windows,
    }


def _features(
    state: ModelState | None, target: str | None, own: ModelSummary
) -> dict[str, float] | None:
    """Mean absolute contribution of each feature, largest first."""
    if state is None or target is None:
        return None
    return ClientExplainer(state).importance(target, own.newest_event_ms)


def _limits(kind: str, target: str | None, own: ModelSummary) -> list[str]:
    if kind == "send_time":
        return [*_HOURS_LIMITS, _ALL_LIMITS[0], _ALL_LIMITS[1]]
    content = ", ".join(CONTENT_FIELDS)
    return [
        *_LIMITS.get(target or "", ()),
        *_ALL_LIMITS,
        f"It has learned {own.learned} labels; groups below {MIN_GROUP_LABELS} are marked as few.",
        f"Live answers are of a message of which nothing is known: {content} count as usual.",
    ]


def _reproduce(own: ModelSummary) -> str:
    return (
        f"The version is the number of labels learned: replay ml.examples from the beginning to "
        f"label {own.model_version} of {own.client_id} with the same pipeline file, and the state "
        "is the same, bit for bit."
    )
