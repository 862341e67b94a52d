"""Rules that others publish or use for the best hour, each learning from its own sends only."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from river import linear_model, preprocessing

from sendtide.lab.people import Outcomes, People

__all__ = ["BrontoRule", "ClientBestHour", "Now", "OpenHistogram", "Oracle", "Policy", "RandomSlot"]
__all__ += ["RiverLogistic", "Thompson12", "bronto_hour"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
_DAY: Final = 24
_MODE_UNTIL: Final = 10
_NARROW_H: Final = 5.0


class Policy(Protocol):
    """Chooses a slot for each of n people, then hears what became of it."""

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:
        """Return (n,) positions in `slots`: (n, s) hours since 1970. learning: it may explore."""
        ...

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:
        """Hear of messages sent in hours `sent` (n,)."""
        ...


def nearest(local_hours: I64, wanted: I64) -> I64:
    """Position in (n, s) local hours of the day of the one closest to `wanted` (n,)."""
    away = np.abs((local_hours - wanted[:, None] + 12) % _DAY - 12)
    return np.asarray(away.argmin(axis=1))


class _Rule:
    """What most rules share: people's local hours."""

    def __init__(self, people: People, seed: int) -> None:
        self.people = people
        self.rng = np.random.default_rng([seed, 3])

    def local(self, hours: I64) -> I64:
        """Local hour of the day."""
        zone = self.people.zone_hours
        return np.asarray((hours + (zone[:, None] if hours.ndim > 1 else zone)) % _DAY)

    def open_hours(self, sent: I64, seen: Outcomes) -> tuple[I64, I64]:
        """(people who opened, local hour of each one's open), machines' opens included."""
        machine_only = seen.machine & ~seen.opened
        delay_h = np.where(seen.opened, np.nan_to_num(seen.delay_s), 0) / 3600
        who = np.flatnonzero(seen.opened | machine_only)
        return who, self.local(sent + delay_h.astype(np.int64))[who]

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:
        """Learn nothing."""


class Now(_Rule):
    """Send at once: the sender's habit."""

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """The first slot."""
        return np.zeros(len(slots), np.int64)


class RandomSlot(_Rule):
    """Any slot."""

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """Uniform."""
        return self.rng.integers(0, slots.shape[1], len(slots))


class Oracle(_Rule):
    """Knows the truth."""

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """The best."""
        return np.asarray(self.people.truth(campaign, slots).argmax(axis=1))


class ClientBestHour(_Rule):
    """One hour for all: opens per send over the client's people; a tenth sent at random."""

    def __init__(self, people: People, seed: int) -> None:
        super().__init__(people, seed)
        self._sent, self._opened = np.zeros((2, _DAY))

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """The hour with the highest shrunk rate."""
        best = int(((self._opened + 1) / (self._sent + 5)).argmax())
        chosen = nearest(self.local(slots), np.full(len(slots), best))
        if not learning:
            return chosen
        anywhere = self.rng.integers(0, slots.shape[1], len(slots))
        return np.where(self.rng.random(len(slots)) < 0.1, anywhere, chosen)

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:  # noqa: ARG002
        """Count opens per send."""
        self._sent += np.bincount(self.local(sent), minlength=_DAY)
        self._opened += np.bincount(self.local(sent)[seen.opened], minlength=_DAY)


class OpenHistogram(_Rule):
    """The hour in which a person opened most often; the sender's habit until there is an open."""

    def __init__(self, people: People, seed: int) -> None:
        super().__init__(people, seed)
        self.counts = np.zeros((people.n, _DAY), np.int64)

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """While learning the sender keeps the habit, as where such histograms are built."""
        chosen = nearest(self.local(slots), self.counts.argmax(axis=1))
        unknown = self.counts.sum(axis=1) == 0
        return np.where(unknown | learning, 0, chosen)

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:  # noqa: ARG002
        """Count the hours of opens."""
        np.add.at(self.counts, self.open_hours(sent, seen), 1)


def bronto_hour(counts: NDArray[np.integer[Any]]) -> int | None:
    """Bronto's published rule for one contact's opens by hour of the day (24,).

    No open: None, as scheduled. Up to ten: the modal hour. From ten on the mean hour if the
    standard deviation is below five hours, else the mode (help.bronto.com, "Optimize send time").
    The mean is that of the page, which knows no midnight.
    """
    opens = int(counts.sum())
    if opens == 0:
        return None
    hours = np.repeat(np.arange(_DAY), counts)
    if opens >= _MODE_UNTIL and float(hours.std()) < _NARROW_H:
        return round(float(hours.mean()))
    return int(counts.argmax())


class BrontoRule(OpenHistogram):
    """`bronto_hour` for each, from the first open on."""

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """The rule's hour; as scheduled where there is none."""
        wanted = [bronto_hour(row) for row in self.counts]
        hours = np.array([-1 if hour is None else hour for hour in wanted])
        return np.where(hours < 0, 0, nearest(self.local(slots), hours))


class Thompson12(_Rule):
    """Beta-Bernoulli Thompson sampling over twelve two-hour arms of each person (Emarsys)."""

    def __init__(self, people: People, seed: int) -> None:
        super().__init__(people, seed)
        self._wins, self._losses = np.ones((2, people.n, 12))

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """The arm with the highest draw, after learning with the highest mean."""
        if learning:
            value = self.rng.beta(self._wins, self._losses)
        else:
            value = self._wins / (self._wins + self._losses)
        return np.asarray(np.take_along_axis(value, self.local(slots) // 2, 1).argmax(axis=1))

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:  # noqa: ARG002
        """One more trial of an arm."""
        at = np.arange(self.people.n), self.local(sent) // 2
        self._wins[at] += seen.opened
        self._losses[at] += ~seen.opened


class RiverLogistic(_Rule):
    """River as it comes: StandardScaler | LogisticRegression on the hour; a tenth at random."""

    def __init__(self, people: People, seed: int) -> None:
        super().__init__(people, seed)
        self._model = preprocessing.StandardScaler() | linear_model.LogisticRegression()

    @staticmethod
    def _features(hour: int) -> dict[str, float]:
        angle = 2 * np.pi * hour / _DAY
        harmonics = ((f, k) for k in (1, 2) for f in ("sin", "cos"))
        return {f"{f}{k}": float(getattr(np, f)(k * angle)) for f, k in harmonics}

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:  # noqa: ARG002
        """The hour with the highest probability, the same for all."""
        told = [self._model.predict_proba_one(self._features(h)) for h in range(_DAY)]
        value = np.array([p.get(True, 0.5) for p in told])
        chosen = value[self.local(slots)].argmax(axis=1)
        if not learning:
            return np.asarray(chosen)
        anywhere = self.rng.integers(0, slots.shape[1], len(slots))
        return np.where(self.rng.random(len(slots)) < 0.1, anywhere, chosen)

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:  # noqa: ARG002
        """Row by row."""
        for hour, opened in zip(self.local(sent).tolist(), seen.opened.tolist(), strict=True):
            self._model.learn_one(self._features(hour), opened)
