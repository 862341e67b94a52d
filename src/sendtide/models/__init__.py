"""River estimators and their compiled multi-client bank, and how their states travel.

Comes in: labelled rows; counts; states from `ml.models`. Goes out: probabilities, scores, states.
Invariant: the bank gives River's own numbers; predicting never changes a model.
Limit: a compiled model is linear or made of counts; any other River model runs row by row.
`parity`, which measures the bank against River, is imported by its own name: it loads scikit-learn,
and a worker should not wait seconds for that.
"""

from sendtide.models.bank import LinearBank, LinearSettings
from sendtide.models.directory import ModelDirectory
from sendtide.models.registry import ALL_CLIENTS, ModelState
from sendtide.models.send_time import SendTime

__all__ = [
    "ALL_CLIENTS",
    "LinearBank",
    "LinearSettings",
    "ModelDirectory",
    "ModelState",
    "SendTime",
]
