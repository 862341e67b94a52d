"""Fairness on a model's card: whether it is as good for one group of recipients as for others.

Three questions of each group with enough labels, against all the others of its kind together:

- calibration: by how much more often than predicted did it happen, (O - E) / n, with variance
  sum p (1 - p) / n^2, what chance alone does to a calibrated model;
- skill: which share of the uncertainty was taken off, 1 - L / H with L the mean log loss and H the
  entropy of the group's own rate, so that groups of different rates compare; its variance is that
  of the mean loss over H^2;
- lift of the open rate over the control group, each side with its confidence sequence
  (`monitoring.lift`); two groups differ where their intervals are apart.

The intervals of the first two are at 95% for all groups of a kind together (Bonferroni), at one
look. They take a recipient's messages as independent once what was predicted is taken off.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sendtide.events.groups import BANDS, PLACES
from sendtide.events.mailbox import MAILBOX_PROVIDERS, NOT_TOLD
from sendtide.models.propensity import TARGETS
from sendtide.models.registry import ModelState

__all__ = ["MIN_GROUP_LABELS", "fairness"]

F64 = NDArray[np.float64]

MIN_GROUP_LABELS: Final = 200
"""Labels a group needs before it is compared; fewer are marked as few."""
_MIN_EITHER: Final = 10
"""Positives and negatives it needs as well, or the normal approximation is none."""
_ALPHA: Final = 0.05
_KINDS: Final = ("time_zones", "mailbox_providers")
_UNTOLD: Final = MAILBOX_PROVIDERS[NOT_TOLD]
_NO_PROVIDER: Final = (
    "No send told its mailbox provider: give email.sends mailbox_provider, or addresses to "
    "`sendtide produce`."
)
_NONE: Final = "No group has labels yet."


def fairness(state: ModelState | None, target: str | None) -> dict[str, Any]:
    """Groups of both kinds, gaps between them, and what may be said; None where not known.

    Keys: `time_zones` and `mailbox_providers`, lists of groups; `gaps`, by kind and then by
    `calibration` and `skill`: group, difference from the others, low, high, of the widest one in
    standard errors; `says`: sentences by kind.
    """
    if state is None or target is None or "groups.places" not in state.columns:
        empty: dict[str, Any] = dict.fromkeys(_KINDS)
        return {**empty, "gaps": dict.fromkeys(_KINDS), "says": {kind: [_NONE] for kind in _KINDS}}
    place = TARGETS.index(target)
    columns, out = state.columns, dict[str, Any]()
    gaps, says = dict[str, Any](), dict[str, list[str]]()
    rows, sums = columns["groups.rows"][place], columns["groups.sums"][place]
    zone = columns["groups.places"] < len(BANDS)
    for kind, mine in zip(_KINDS, (zone, ~zone), strict=True):
        mine = mine & (rows[:, 0] > 0)
        names = [PLACES[k] for k in columns["groups.places"][mine].tolist()]
        lifts = columns["groups.lifts"][mine] if target == "open" else None
        out[kind] = _groups(names, rows[mine], sums[mine], lifts)
        compared = _compared(names, rows[mine])
        gaps[kind] = _gaps(names, rows[mine], sums[mine], compared)
        says[kind] = _says(kind, out[kind], gaps[kind])
    return {**out, "gaps": gaps, "says": says}


def _groups(
    names: list[str], rows: NDArray[np.int64], sums: F64, lifts: F64 | None
) -> list[dict[str, Any]]:
    """One entry a group; ratio: predicted over observed, None where nothing happened."""
    found = []
    skill, _ = _skill(rows, sums)
    for i, name in enumerate(names):
        labels, positives = rows[i].tolist()
        predicted, loss = sums[i, :2].tolist()
        known = lifts is not None and not np.isnan(lifts[i, 0])
        found.append(
            {
                "group": name,
                "labels": labels,
                "observed": positives / labels,
                "predicted": predicted / labels,
                "ratio": predicted / positives if positives else None,
                "log_loss": loss / labels,
                "skill": None if np.isnan(skill[i]) else float(skill[i]),
                "lift": float(lifts[i, 0]) if lifts is not None and known else None,
                "lift_low": float(lifts[i, 1]) if lifts is not None and known else None,
                "lift_high": float(lifts[i, 2]) if lifts is not None and known else None,
                "few": labels < MIN_GROUP_LABELS,
            }
        )
    return found


def _compared(names: list[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which groups are compared: those with a name and enough of both outcomes."""
    enough = (rows[:, 0] >= MIN_GROUP_LABELS) & (rows[:, 1] >= _MIN_EITHER)
    enough &= rows[:, 0] - rows[:, 1] >= _MIN_EITHER
    named = np.array([name != _UNTOLD for name in names], bool)
    return np.asarray(enough & named)


def _calibration(rows: NDArray[np.int64], sums: F64) -> tuple[F64, F64]:
    """(k,) observed minus predicted rate, and its variance."""
    n = rows[:, 0]
    return (rows[:, 1] - sums[:, 0]) / n, sums[:, 2] / n.astype(np.float64) ** 2


def _skill(rows: NDArray[np.int64], sums: F64) -> tuple[F64, F64]:
    """(k,) share of the entropy taken off, NaN where there is none, and its variance."""
    n = rows[:, 0]
    rate = np.where((rows[:, 1] > 0) & (rows[:, 1] < n), rows[:, 1] / n, np.nan)
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    mean = sums[:, 1] / n
    variance = np.maximum(sums[:, 3] / n - mean**2, 0.0) / n
    return 1 - mean / entropy, variance / entropy**2


def _gaps(
    names: list[str], rows: NDArray[np.int64], sums: F64, compared: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """The widest difference of a group from the others in each measure; None below two groups."""
    places = np.flatnonzero(compared)
    if len(places) < 2:
        return None
    rows, sums, names = rows[places], sums[places], [names[k] for k in places.tolist()]
    reach = float(ndtri(1 - _ALPHA / 2 / len(places)))
    out = dict[str, Any]()
    for measure, of in (("calibration", _calibration), ("skill", _skill)):
        own, variance = of(rows, sums)
        others, its = of(rows.sum(axis=0) - rows, sums.sum(axis=0) - sums)
        difference, error = own - others, np.sqrt(variance + its)
        widest = int(np.argmax(np.abs(difference) / error))
        half = reach * float(error[widest])
        out[measure] = {
            "group": names[widest],
            "groups": len(places),
            "difference": float(difference[widest]),
            "low": float(difference[widest]) - half,
            "high": float(difference[widest]) + half,
        }
    return out


def _says(kind: str, groups: list[dict[str, Any]], gaps: dict[str, Any] | None) -> list[str]:
    """Plain sentences: what differs, what does not, and of which groups too little is known."""
    named = [group for group in groups if group["group"] != _UNTOLD]
    if not named:
        return [_NO_PROVIDER if kind == "mailbox_providers" else _NONE]
    few = [group["group"] for group in named if group["few"]]
    told = [f"Too few labels for a judgement, {MIN_GROUP_LABELS} are needed: {', '.join(few)}."]
    said = told if few else []
    if gaps is None:
        return [*said, "Fewer than two groups have enough labels: nothing can be compared."]
    about = {
        "calibration": "What happened minus what was predicted",
        "skill": "The share of the uncertainty taken off",
    }
    compared = [_said(words, gaps[measure]) for measure, words in about.items()]
    return [*compared, *_said_of_lifts(named), *said]


def _said(words: str, gap: dict[str, Any]) -> str:
    ends = f"{100 * gap['low']:+.2f} to {100 * gap['high']:+.2f}"
    numbers = f"{100 * gap['difference']:+.2f} points against the others ({ends})"
    if gap["low"] > 0 or gap["high"] < 0:
        return f"{words} differs between groups: {gap['group']}, {numbers}."
    return (
        f"{words} differs between {gap['groups']} groups by no more than chance would; "
        f"the most, {gap['group']}, by {numbers}."
    )


def _said_of_lifts(groups: list[dict[str, Any]]) -> list[str]:
    known = [group for group in groups if group["lift"] is not None]
    if len(known) < 2:
        return []
    best = max(known, key=lambda group: float(group["lift_low"]))
    least = min(known, key=lambda group: float(group["lift_high"]))
    apart = best["lift_low"] > least["lift_high"]
    both = " and ".join(
        f"{group['group']} {100 * group['lift']:+.1f} points "
        f"({100 * group['lift_low']:+.1f} to {100 * group['lift_high']:+.1f})"
        for group in (best, least)
    )
    if apart:
        return [f"The lift over the control group differs between groups: {both}."]
    return [f"No two of {len(known)} groups' lifts over the control group are apart."]
