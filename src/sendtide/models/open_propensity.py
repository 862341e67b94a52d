"""Will this message be opened: features out of a recipient's history and the message's content.

The features are bounded and of order one, so the bank needs no scaler. A recipient's open rates
enter as log-odds, shrunk to the client's own running rate, which makes the per-recipient
Beta-Binomial a special case of the model (weight 1 on the first feature, 0 elsewhere).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.messages import CONTENT_FIELDS

__all__ = ["FEATURES", "PRIOR_RATE", "features"]

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

PRIOR_RATE: Final = 0.2
_LIFETIME_STRENGTH: Final = 2.0
_RECENT_STRENGTH: Final = 1.0
_CONTENT_SCALES: Final = {
    "subject_length": (60.0, 20.0),
    "words": (400.0, 200.0),
    "links": (20.0, 10.0),
    "clickable_images": (6.0, 5.0),
    "unclickable_images": (1.0, 2.0),
}
"""Typical value and spread of each content measure; deviations are clipped to +-3 spreads."""

FEATURES: Final = (
    "lifetime_log_odds",
    "recent_log_odds",
    "first_message",
    "never_opened",
    "open_recency",
    "send_recency",
    "log_sends",
    "log_clicks",
    *CONTENT_FIELDS,
)


def _log_odds(opens: F64, sends: F64, rate: F64, strength: float) -> F64:
    p = np.clip((opens + strength * rate) / (sends + strength), 1e-3, 1 - 1e-3)
    return np.asarray(np.log(p / (1 - p)))


def _recency(hours: F64, half_life_h: float) -> F64:
    """1 just now, 1/2 after the half-life, 0 if never (NaN)."""
    return np.asarray(np.where(np.isnan(hours), 0.0, 2.0 ** (-np.maximum(hours, 0) / half_life_h)))


def features(history: Mapping[str, NDArray[Any]], content: F32, rate: F64) -> F64:
    """Return (n, len(FEATURES)) float64.

    Args:
        history: the HISTORY_COLUMNS, n rows.
        content: (n, 5), NaN where absent.
        rate: (n,) the client's running open rate, the centre of the shrinkage.
    """
    h = {name: column.astype(np.float64) for name, column in history.items()}
    columns = [
        _log_odds(h["opens"], h["sends"], rate, _LIFETIME_STRENGTH),
        _log_odds(h["recent_opens"], h["recent_sends"], rate, _RECENT_STRENGTH),
        (h["sends"] == 0).astype(np.float64),
        ((h["opens"] == 0) & (h["sends"] > 0)).astype(np.float64),
        _recency(h["hours_since_open"], 24.0 * 14),
        _recency(h["hours_since_send"], 24.0 * 7),
        np.log1p(h["sends"]) / 3.0,
        np.log1p(h["clicks"]),
    ]
    for j, name in enumerate(CONTENT_FIELDS):
        typical, spread = _CONTENT_SCALES[name]
        deviation = (content[:, j].astype(np.float64) - typical) / spread
        columns.append(np.clip(np.nan_to_num(deviation), -3, 3) / 3.0)
    return np.column_stack(columns)
