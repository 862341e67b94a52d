"""Explained answers: the parameter `explain` of an inference request.

The Open Inference Protocol v2 has no explain call (KServe's V1 had one) and leaves such things to
extensions, which a server names in its metadata: here a request parameter, `"explain": true`, and
more outputs beside the usual ones. All are in log-odds, and add up.

A propensity is computed anew, by the client's newest weights from what its record was computed
from, so that baseline + contributions + doubt are the log-odds of the probability in the same
answer (`models.explanation`). Send time says what each level adds to the chosen moment over the
mean of the window (`models.levels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.endpoint.answers import Question, ServedModel, slots_of
from sendtide.endpoint.tensors import OutputTensor
from sendtide.endpoint.web import Refusal
from sendtide.events.errors import CorruptData
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.events.records import HOURS_PER_WEEK, decode_scores, history_of
from sendtide.models.explanation import ClientExplainer, Explanation
from sendtide.models.levels import LEVELS, level_contributions, level_curves
from sendtide.models.propensity import FEATURES
from sendtide.models.registry import ModelState
from sendtide.sinks import Reader

__all__ = ["client_state", "explain_hours", "explain_record", "explained"]

F64 = NDArray[np.float64]

_LIMIT_ROWS: Final = 1_000
"""Explained rows in one request: each is some twenty numbers more."""
_WEEK: Final = np.arange(HOURS_PER_WEEK)


def client_state(reader: Reader, client: str, kind: str) -> ModelState | None:
    """Newest state of a client's "propensity" or "send_time" model, None before the first.

    Raises:
        CorruptData: something else is kept under its key.
    """
    value = reader.state(client, kind)
    return None if value is None else ModelState.from_bytes(value)


def explain_record(state: ModelState, target: str, records: NDArray[np.void]) -> Explanation:
    """Take one propensity of n of a client's records apart."""
    explainer = ClientExplainer(state)
    no_content = np.full((len(records), len(CONTENT_FIELDS)), np.nan, np.float32)
    x = explainer.features(history_of(records), no_content)
    return explainer.explain(target, x, records["event_time_ms"].astype(np.int64))


def explain_hours(
    state: ModelState, record: np.void, best: int, hours: NDArray[np.int64] = _WEEK
) -> F64:
    """(4,) what each of LEVELS adds to hour `best` of a record over the mean of `hours`."""
    scores = decode_scores(np.array([record]))[0].astype(np.float64)
    return level_contributions(level_curves(state, int(record["segment"])), scores, best, hours)


def explained(
    reader: Reader,
    model: ServedModel,
    clients: Sequence[str],
    question: Question,
    outputs: list[OutputTensor],
) -> list[OutputTensor]:
    """The outputs of an answer with their explanation; NaN where nothing is known.

    Raises:
        Refusal: 400; a model of content. 413; too many rows at once.
        Unavailable: the store does not answer.
    """
    if model.name != "send_time" and not model.name.endswith("_propensity"):
        msg = f"{model.name} cannot be explained; send_time and the propensities can"
        raise Refusal(400, msg)
    if len(clients) > _LIMIT_ROWS:
        msg = f"{len(clients)} rows are to be explained; the limit is {_LIMIT_ROWS} a request"
        raise Refusal(413, msg)
    kind = "send_time" if model.name == "send_time" else "propensity"
    states = {name: _readable(reader, name, kind) for name in set(clients)}
    if kind == "send_time":
        return [*outputs, *_hours(clients, states, question, outputs)]
    return _propensity(model.name.removesuffix("_propensity"), clients, states, question, outputs)


def _readable(reader: Reader, client: str, kind: str) -> ModelState | None:
    """As `client_state`; another build's state explains nothing."""
    try:
        return client_state(reader, client, kind)
    except CorruptData:
        return None


def _propensity(
    target: str,
    clients: Sequence[str],
    states: dict[str, ModelState | None],
    question: Question,
    outputs: list[OutputTensor],
) -> list[OutputTensor]:
    n = len(clients)
    parts = {name: np.full(n, np.nan) for name in ("baseline", "doubt", "log_odds")}
    contributions = np.full((n, len(FEATURES)), np.nan)
    versions, known = np.zeros(n, np.int64), question.records["layout"] != 0
    for client, state in states.items():
        mine = np.flatnonzero(np.array([c == client for c in clients]) & known)
        if state is None or not len(mine):
            continue
        found = explain_record(state, target, question.records[mine])
        for name, part in parts.items():
            part[mine] = getattr(found, name)
        contributions[mine], versions[mine] = found.contributions, state.model_version
    probability = 1 / (1 + np.exp(-parts["log_odds"]))
    anew: dict[str, Any] = {f"{target}_probability": probability, "model_version": versions}
    return [
        *(OutputTensor(x.name, x.datatype, anew.get(x.name, x.values)) for x in outputs),
        *(OutputTensor(name, "FP64", part) for name, part in parts.items()),
        OutputTensor("contributions", "FP64", contributions),
        OutputTensor("contribution_names", "BYTES", list(FEATURES)),
    ]


def _hours(
    clients: Sequence[str],
    states: dict[str, ModelState | None],
    question: Question,
    outputs: list[OutputTensor],
) -> list[OutputTensor]:
    columns: dict[str, Any] = {output.name: output.values for output in outputs}
    records, contributions = question.records, np.full((len(clients), len(LEVELS)), np.nan)
    for i, client in enumerate(clients):
        state = states[client]
        if state is None or not records["layout"][i]:
            continue
        times, hours = slots_of(question, i)
        best = int(hours[np.searchsorted(times, columns["send_at_ms"][i])])
        contributions[i] = explain_hours(state, records[i], best, hours)
    return [
        OutputTensor("contributions", "FP64", contributions),
        OutputTensor("contribution_names", "BYTES", list(LEVELS)),
        *(
            OutputTensor(name, kind, records[name].astype(dtype))
            for name, kind, dtype in (
                ("sends", "INT64", np.int64),
                ("opens", "INT64", np.int64),
                ("effective_sends", "FP64", np.float64),
            )
        ),
    ]
