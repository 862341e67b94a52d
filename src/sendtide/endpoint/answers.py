"""The served models: recipient records in, output columns out. Arithmetic only.

`send_time`: the best moment inside a window. A window is looked at hour by hour, beginning at its
first moment; each candidate's score is that of its hour of the week on the recipient's clock.
`open_propensity`, `click_propensity`, `unsubscribe_propensity`, `complaint_propensity`,
`bounce_propensity`: the probability that the next message is opened (by a person), clicked in, and
so on.

A recipient nobody has heard of is answered from its client (tier `client`, see `fallback`), and
where that has no hours, with tier `unknown`, NaN and `stale`: true. No number is ever made up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sendtide.endpoint.control import ControlGroup
from sendtide.endpoint.decisions import Decision
from sendtide.endpoint.tensors import Column, OutputTensor
from sendtide.endpoint.web import Refusal
from sendtide.events.hashing import hash_text
from sendtide.events.messages import MAX_TIME_MS, MAX_WINDOW_MS, MIN_TIME_MS
from sendtide.events.records import HOURS_PER_WEEK, RARE_TARGETS, TIERS, decode_scores
from sendtide.events.time import ZoneTable, known_zones

__all__ = ["MODELS", "TRUST", "ContentModels", "Question", "ServedModel", "slots_of", "trust"]

HOUR_MS: Final = 3_600_000
WEEK_MS: Final = HOURS_PER_WEEK * HOUR_MS
UNKNOWN: Final = "unknown"
_ROWS_AT_ONCE: Final = 1_000
"""Bounds the table of candidates to 1,000 x 337 hours, about 3 MB a column."""

_LOCAL: Final = threading.local()

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


class ContentModels(Protocol):
    """The models' read side (`models.content_directory`)."""

    def newest(self, clients: Sequence[str], kind: str) -> tuple[I64, I64]:
        """(n,) versions and (n,) newest event times of clients' models; 0 without one."""
        ...

    def subject_probability(
        self, clients: Sequence[str], subjects: Sequence[str], base_rates: F64
    ) -> F64:
        """(n,) P(open) of subjects to recipients who open at these rates."""
        ...

    def variant_choice(
        self, client: str, variants: NDArray[np.void], seed: int
    ) -> tuple[F64, F64, int]:
        """(k,) P(open), (k,) propensities, and the place of the one drawn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """n rows asked about.

    records: their records, layout 0 where unknown. zone: hashes of zone names, 0 for UTC. columns:
    the inputs as given. content: models of what a message is made of, if this server has them.
    control: whose hours are drawn. log: takes decisions.
    """

    clients: list[str]
    columns: Mapping[str, Column]
    records: NDArray[np.void]
    window_start_ms: I64
    window_end_ms: I64
    zone: NDArray[np.uint64]
    now_ms: int
    stale_after_s: float
    given_id: str
    content: ContentModels | None
    subject_threshold: float
    control: ControlGroup
    log: Callable[[Sequence[Decision]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model of the protocol: its words, its arithmetic, the inputs `needed`."""

    name: str
    about: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    optional_outputs: frozenset[str]
    answer: Callable[[Question], list[OutputTensor]]
    needed: tuple[str, ...] = ("client_id", "recipient_id")


_WHO: Final = {"client_id": "BYTES", "recipient_id": "BYTES"}
_WINDOW: Final = {"window_start_ms": "INT64", "window_end_ms": "INT64", "timezone": "BYTES"}
TRUST: Final = {
    "tier": "BYTES",
    "model_version": "INT64",
    "event_time_ms": "INT64",
    "age_s": "FP64",
    "stale": "BOOL",
}


def windows(start: I64 | None, end: I64 | None, n: int, now_ms: int) -> tuple[I64, I64]:
    """The asked windows, or the week from now.

    Raises:
        Refusal: 400; only one end given, an empty or too long window, times out of range.
    """
    if (start is None) != (end is None):
        raise Refusal(400, "window_start_ms and window_end_ms are needed together, or neither")
    if start is None or end is None:
        return np.full(n, now_ms, np.int64), np.full(n, now_ms + WEEK_MS, np.int64)
    wrong = (start < MIN_TIME_MS) | (end > MAX_TIME_MS) | (end <= start)
    wrong |= (end - start) > MAX_WINDOW_MS
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = (
            f"row {row}: window {int(start[row])} to {int(end[row])} is empty, longer than "
            f"{MAX_WINDOW_MS} ms, or outside {MIN_TIME_MS} to {MAX_TIME_MS} (milliseconds, UTC)"
        )
        raise Refusal(400, msg)
    return start, end


def zone_codes(names: list[str] | None, n: int) -> NDArray[np.uint64]:
    """Hashes of IANA zone names; UTC where none is given.

    Raises:
        Refusal: 400; a name that is no zone.
    """
    if names is None:
        return np.zeros(n, np.uint64)
    codes = {name: hash_text(name) if name else 0 for name in set(names)}
    known = known_zones()
    wrong = sorted(name for name, code in codes.items() if code and code not in known)
    if wrong:
        raise Refusal(400, f"timezone {wrong[0][:80]!r} is no IANA time zone, e.g. Europe/Paris")
    return np.array([codes[name] for name in names], np.uint64)


def trust(question: Question) -> list[OutputTensor]:
    """What every answer says about itself."""
    records = question.records
    known = records["layout"] != 0
    age_s = np.maximum(0.0, (question.now_ms - records["event_time_ms"]) / 1000.0)
    age_s[~known] = np.nan
    tiers = [
        TIERS[tier] if ok else UNKNOWN
        for tier, ok in zip(records["tier"].tolist(), known.tolist(), strict=True)
    ]
    stale = ~known | (age_s > question.stale_after_s)
    return [
        OutputTensor("tier", "BYTES", tiers),
        OutputTensor("model_version", "INT64", records["model_version"].astype(np.int64)),
        OutputTensor("event_time_ms", "INT64", records["event_time_ms"].astype(np.int64)),
        OutputTensor("age_s", "FP64", age_s),
        OutputTensor("stale", "BOOL", stale),
    ]


def _propensity(target: str, question: Question) -> list[OutputTensor]:
    records = question.records
    column = records["open_probability"]
    if target in RARE_TARGETS:
        column = records["propensities"][:, RARE_TARGETS.index(target)]
    probability = column.astype(np.float64)
    probability[records["layout"] == 0] = np.nan
    return [OutputTensor(f"{target}_probability", "FP64", probability), *trust(question)]


def _served(target: str, about: str) -> ServedModel:
    return ServedModel(
        name=f"{target}_propensity",
        about=f"the probability that this recipient {about} the next message",
        inputs=_WHO,
        outputs={f"{target}_probability": "FP64", **TRUST},
        optional_outputs=frozenset(),
        answer=partial(_propensity, target),
    )


def _send_time(question: Question) -> list[OutputTensor]:
    scores = decode_scores(question.records)
    unknown = question.records["layout"] == 0
    scores[unknown] = np.nan
    n, group = len(scores), question.control
    recipients = cast("list[str]", question.columns["recipient_id"])
    windows = question.window_start_ms, question.window_end_ms
    draws = group.draws(question.clients, recipients, *windows)
    at, probability, propensity = np.full(n, -1, np.int64), np.full(n, np.nan), np.full(n, np.nan)
    for first in range(0, n, _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        slots = _candidates(windows[0][some], windows[1][some], question.zone[some])
        chosen = _chosen(scores[some], *slots, windows[1][some], draws[some], group.share)
        at[some], probability[some], propensity[some] = chosen
    drawn = ~np.isnan(draws)
    at[unknown & ~drawn], propensity[unknown & ~drawn] = -1, np.nan
    arms = np.where(drawn, "control", np.where(unknown, UNKNOWN, "optimised"))
    return [
        OutputTensor("send_at_ms", "INT64", at),
        OutputTensor("open_probability", "FP64", probability),
        OutputTensor("arm", "BYTES", arms.tolist()),
        OutputTensor("propensity", "FP64", propensity),
        OutputTensor("scores", "FP32", scores),
        *trust(question),
    ]


def _zones() -> ZoneTable:
    """Zones of the current thread: a table grows when it meets one, so threads share none."""
    if not hasattr(_LOCAL, "zones"):
        _LOCAL.zones = ZoneTable()
    zones: ZoneTable = _LOCAL.zones
    return zones


def _candidates(start: I64, end: I64, zone: NDArray[np.uint64]) -> tuple[I64, I64]:
    """(n, slots) moments and their local hours of the week; those at or after `end` are none."""
    hours = int((end - start).max()) // HOUR_MS + 2
    times = start[:, None] // HOUR_MS * HOUR_MS + np.arange(hours) * HOUR_MS
    times[:, 0] = start
    local, _ = _zones().local_hours(times.ravel(), np.repeat(zone, hours))
    return times, local.reshape(times.shape).astype(np.int64)


def slots_of(question: Question, row: int) -> tuple[I64, I64]:
    """(slots,) moments of one row's window and their local hours of the week."""
    one = slice(row, row + 1)
    start, end = question.window_start_ms[one], question.window_end_ms[one]
    times, local = _candidates(start, end, question.zone[one])
    inside = times[0] < end[0]
    return times[0][inside], local[0][inside]


def _chosen(
    scores: NDArray[np.float32], times: I64, local: I64, end: I64, draws: F64, share: float
) -> tuple[I64, F64, F64]:
    """(n,) moments, their scores and propensities: the first of the best hours, or one drawn.

    scores: (n, 168), NaN of unknown rows. draws: (n,) in [0, 1), NaN for rows not of the group.
    """
    row, count = np.arange(len(times)), (times < end[:, None]).sum(axis=1)
    found = scores[row[:, None], local]
    known = ~np.isnan(found[:, 0])
    found[times >= end[:, None]] = -1  # below every score
    best = found.argmax(axis=1)
    drawn = np.minimum(np.nan_to_num(draws) * count, count - 1).astype(np.int64)
    slot = np.where(np.isnan(draws), best, drawn)
    propensity = share / count + (1 - share) * ((slot == best) & known)
    return times[row, slot], found[row, slot].astype(np.float64), propensity


MODELS: Final = {
    model.name: model
    for model in (
        ServedModel(
            name="send_time",
            about="the moment inside a window at which this recipient is likeliest to open",
            inputs={**_WHO, **_WINDOW},
            outputs={
                "send_at_ms": "INT64",
                "open_probability": "FP64",
                "arm": "BYTES",
                "propensity": "FP64",
                "scores": "FP32",
                **TRUST,
            },
            optional_outputs=frozenset({"scores"}),
            answer=_send_time,
        ),
        _served("open", "opens"),
        _served("click", "clicks in"),
        _served("unsubscribe", "unsubscribes because of"),
        _served("complaint", "complains about"),
        _served("bounce", "does not get (it bounces)"),
    )
}
"""Served models by name. Optional outputs are sent only when asked for by name."""
