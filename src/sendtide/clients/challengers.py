"""River models beside the built-in one: they learn from the same labels and are only compared.

One Python object per client and challenger, row by row: what River itself costs. One that raises is
put aside with its reason and learns no more; the events and the other models are not held up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.quality import SCORE_BINS, binned_auc, bounded_log_loss, score_bin
from sendtide.clients.settings import ChallengerSettings
from sendtide.models.named import named_classifier, probability
from sendtide.models.propensity import FEATURES
from sendtide.models.river_state import plain, revived

__all__ = ["Challengers", "Failure", "Standing"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """How a client's challenger does, progressively (predict, then learn)."""

    model: str
    learned: int
    log_loss: float | None
    brier: float | None
    auc: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A challenger that raised while it met a row, and learns no more."""

    model: str
    client_row: int
    learned: int
    at_ms: int
    reason: str


@dataclass(slots=True)
class _Pupil:
    """One client's copy of a challenger."""

    model: Any
    learned: int = 0
    log_loss: float = 0.0
    brier: float = 0.0
    failed: str = ""
    scores: I64 = field(default_factory=lambda: np.zeros((SCORE_BINS, 2), np.int64))

    def learn(self, x: Mapping[str, float], opened: bool) -> None:
        """Predict, score, learn."""
        p = probability(self.model, x)
        self.model.learn_one(x, opened)
        self.learned += 1
        self.log_loss += bounded_log_loss(p, opened)
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

    def learn(
        self, rows: I32, times: I64, x: F64, opened: NDArray[np.bool_], names: list[str]
    ) -> list[Failure]:
        """Learn n rows in order, each with its client's challengers; return those that raised."""
        takers = [
            (own.name, np.array([own.takes(name) for name in names], bool)[rows])
            for own in self._declared
        ]
        busy = np.logical_or.reduce([takes for _, takes in takers], initial=False, axis=0)
        failures: list[Failure] = []
        for i in np.flatnonzero(busy).tolist():
            values = dict(zip(FEATURES, x[i].tolist(), strict=True))
            for name in (name for name, takes in takers if takes[i]):
                reason = self._teach(name, int(rows[i]), values, bool(opened[i]))
                if reason:
                    learned = self._pupils[name, int(rows[i])].learned
                    failures.append(Failure(name, int(rows[i]), learned, int(times[i]), reason))
        return failures

    def _teach(self, name: str, row: int, x: dict[str, float], opened: bool) -> str:
        """Let one copy learn one row; why it just failed, if it did."""
        pupil = self._pupil(name, row)
        if pupil.failed:
            return ""
        try:
            pupil.learn(x, opened)
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
                yield Standing(
                    model=own.name,
                    learned=pupil.learned,
                    log_loss=pupil.log_loss / pupil.learned,
                    brier=pupil.brier / pupil.learned,
                    auc=binned_auc(pupil.scores),
                )

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Every copy as text, with its score counts."""
        declared = {own.name: _identity(own) for own in self._declared}
        # Sorted: the order of first appearance depends on how rows were cut into blocks.
        pupils = sorted(self._pupils.items(), key=itemgetter(0))
        kept = [
            {"name": name, "row": row, "declared": declared[name], "model": plain(pupil.model)}
            | {key: getattr(pupil, key) for key in ("learned", "log_loss", "brier", "failed")}
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
                    scores=scores.copy(),
                )


def _identity(own: ChallengerSettings) -> Any:
    """What makes a kept model another one when it changes in the file."""
    return json.loads(json.dumps({k: asdict(own)[k] for k in ("classes", "params")}))
