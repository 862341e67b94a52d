"""River models beside the built-in one: they learn from the same labels and are only compared.

One Python object per client and challenger, row by row: what River itself costs. One that raises is
put aside with its reason and learns no more; the events and the other models are not held up.

One whose promotion may be advised is compared with the built-in model row by row
(`monitoring.rivalry`): advised when the interval of its gain lies above 0 after `promote_after`
rows, taken back when it lies below 0. The 5% by which equal models may be advised, ever, are shared
out among a client's challengers. Nothing is switched: answers come out of stage A's compiled
scoring, which holds no River model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.quality import SCORE_BINS, binned_auc, bounded_log_loss, score_bin
from sendtide.clients.settings import ChallengerSettings
from sendtide.models.named import named_classifier, probability
from sendtide.models.propensity import FEATURES
from sendtide.models.river_state import plain, revived
from sendtide.monitoring.rivalry import Differences

__all__ = ["Advice", "Challengers", "Failure", "Standing"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_REASON_LENGTH: Final = 200
_ALPHA: Final = 0.05
_KEPT: Final = ("learned", "log_loss", "brier", "failed", "better")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a client's challenger does, progressively (predict, then learn).

    gain: mean log loss of the built-in model minus its own, with an interval that holds at all
    times. promotion: "waiting" or "advised"; None where the pipeline says never.
    """

    model: str
    learned: int
    log_loss: float | None
    brier: float | None
    auc: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    promotion: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A challenger that raised while it met a row, and learns no more."""

    model: str
    client_row: int
    learned: int
    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """A challenger is better than the built-in model for a client, or no longer is."""

    model: str
    client_row: int
    better: bool
    rows: int
    gain: float
    low: float
    high: float
    at_ms: int


@dataclass(slots=True)
class _Pupil:
    """One client's copy of a challenger."""

    model: Any
    learned: int = 0
    log_loss: float = 0.0
    brier: float = 0.0
    failed: str = ""
    better: bool = False
    against: Differences = field(default_factory=Differences)
    scores: I64 = field(default_factory=lambda: np.zeros((SCORE_BINS, 2), np.int64))

    def learn(self, x: Mapping[str, float], opened: bool, incumbent_loss: float) -> None:
        """Predict, score, learn."""
        p = probability(self.model, x)
        self.model.learn_one(x, opened)
        self.learned += 1
        loss = bounded_log_loss(p, opened)
        self.log_loss += loss
        self.against.add(incumbent_loss - loss)
        self.brier += (p - opened) ** 2
        self.scores[score_bin(p), int(opened)] += 1


class Challengers:
    """All challengers of a partition's clients.

    Raises:
        ConfigurationError: a class or its parameters are of no use.
    """

    def __init__(self, declared: tuple[ChallengerSettings, ...]) -> None:
        self._declared = declared
        self._fresh = {
            own.name: named_classifier(own.classes, dict(own.params), FEATURES) for own in declared
        }
        self._pupils: dict[tuple[str, int], _Pupil] = {}
        self._promote_after = {own.name: own.promote_after for own in declared}
        self._alpha = _ALPHA / max(len(declared), 1)

    def learn(
        self,
        rows: I32,
        times: I64,
        x: F64,
        opened: NDArray[np.bool_],
        losses: F64,
        names: list[str],
    ) -> tuple[list[Failure], list[Advice]]:
        """Learn n rows in order, each with its client's challengers.

        losses: (n,) log losses of the built-in model. Returns those that raised, and those whose
        promotion is advised or no longer is.
        """
        takers = [
            (own.name, np.array([own.takes(name) for name in names], bool)[rows])
            for own in self._declared
        ]
        busy = np.logical_or.reduce([takes for _, takes in takers], initial=False, axis=0)
        failures: list[Failure] = []
        advice: list[Advice] = []
        for i in np.flatnonzero(busy).tolist():
            values = dict(zip(FEATURES, x[i].tolist(), strict=True))
            for name in (name for name, takes in takers if takes[i]):
                row, at_ms = int(rows[i]), int(times[i])
                reason = self._teach(name, row, values, bool(opened[i]), float(losses[i]))
                if reason:
                    learned = self._pupils[name, row].learned
                    failures.append(Failure(name, row, learned, at_ms, reason))
                else:
                    advice += self._judge(name, row, at_ms)
        return failures, advice

    def _judge(self, name: str, row: int, at_ms: int) -> list[Advice]:
        """What its newest row changed of the advice on one copy."""
        pupil, after = self._pupils[name, row], self._promote_after[name]
        if pupil.failed or after is None or pupil.against.rows < after:
            return []
        gain, low, high = pupil.against.interval(self._alpha)
        better = low > 0 or (pupil.better and not high < 0)
        if better == pupil.better:
            return []
        pupil.better = better
        return [Advice(name, row, better, pupil.against.rows, gain, low, high, at_ms)]

    def _teach(
        self, name: str, row: int, x: dict[str, float], opened: bool, incumbent_loss: float
    ) -> str:
        """Let one copy learn one row; why it just failed, if it did."""
        pupil = self._pupil(name, row)
        if pupil.failed:
            return ""
        try:
            pupil.learn(x, opened, incumbent_loss)
        except Exception as error:  # whatever a model named in a file may raise
            pupil.failed = f"{type(error).__name__}: {error}"[:_REASON_LENGTH]
        return pupil.failed

    def _pupil(self, name: str, row: int) -> _Pupil:
        pupil = self._pupils.get((name, row))
        if pupil is None:
            pupil = self._pupils[name, row] = _Pupil(self._fresh[name].clone())
        return pupil

    def standings(self, row: int) -> Iterator[Standing]:
        """How the challengers of one client do, in the order of the pipeline file."""
        for own in self._declared:
            pupil = self._pupils.get((own.name, row))
            if pupil is not None and pupil.learned:
                compared = [
                    value if isfinite(value) else None
                    for value in pupil.against.interval(self._alpha)
                ]
                advised = "advised" if pupil.better else "waiting"
                yield Standing(
                    model=own.name,
                    learned=pupil.learned,
                    log_loss=pupil.log_loss / pupil.learned,
                    brier=pupil.brier / pupil.learned,
                    auc=binned_auc(pupil.scores),
                    gain=compared[0],
                    gain_low=compared[1],
                    gain_high=compared[2],
                    promotion=None if own.promote_after is None else advised,
                )

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Every copy as text, with its score counts."""
        declared = {own.name: _identity(own) for own in self._declared}
        # Sorted: the order of first appearance depends on how rows were cut into blocks.
        pupils = sorted(self._pupils.items(), key=itemgetter(0))
        kept = [
            {"name": name, "row": row, "declared": declared[name], "model": plain(pupil.model)}
            | {"against": asdict(pupil.against)}
            | {key: getattr(pupil, key) for key in _KEPT}
            for (name, row), pupil in pupils
        ]
        scores = [pupil.scores for _, pupil in pupils]
        return {
            "text": np.frombuffer(json.dumps(kept).encode(), np.uint8),
            "scores": np.array(scores, np.int64).reshape(len(kept), SCORE_BINS, 2),
        }

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave of what is still declared as it was then."""
        declared = {own.name: _identity(own) for own in self._declared}
        self._pupils.clear()
        for entry, scores in zip(
            json.loads(columns["text"].tobytes()), columns["scores"], strict=True
        ):
            if declared.get(entry["name"]) == entry["declared"]:
                self._pupils[entry["name"], entry["row"]] = _Pupil(
                    model=revived(entry["model"]),
                    learned=entry["learned"],
                    log_loss=entry["log_loss"],
                    brier=entry["brier"],
                    failed=entry["failed"],
                    better=entry["better"],
                    against=Differences(**entry["against"]),
                    scores=scores.copy(),
                )


def _identity(own: ChallengerSettings) -> Any:
    """What makes a kept model another one when it changes in the file."""
    return json.loads(json.dumps({k: asdict(own)[k] for k in ("classes", "params")}))
