"""A laboratory: a simulated provider whose truth is known, logs replayed, measures of predictions.

Comes in: a scenario and a seed, or batches of a log. Goes out: records for topics (bytes, no client
library), what is true about them, and exact scores of predictions. Invariant: the same scenario and
the same steps give the same bytes. Limit: a record may be made at about a million a second and
core; people are simpler here than in life, so a good result here is necessary, never sufficient.
"""

from sendtide.lab.backtest import Backtest, Foreseen
from sendtide.lab.evaluate import (
    Score,
    auc,
    beta_binomial,
    calibration_curve,
    calibration_error,
    log_loss,
    score,
)
from sendtide.lab.hindsight import ByLog, ByModel, Sent, by_log, by_model, sender_hours
from sendtide.lab.ledger import Ledger
from sendtide.lab.next_open import NextOpen, machine_like, next_open_hours
from sendtide.lab.off_policy import Decisions, PolicyValue, evaluate, refusal
from sendtide.lab.placebo import PlaceboCounts, PlaceboSettings, run_placebo
from sendtide.lab.population import Population
from sendtide.lab.quarters import by_period, by_quarter, month_names, quarter_names
from sendtide.lab.scenario import SEGMENTS, ZONES, Drift, Scenario
from sendtide.lab.simulator import Simulator, event_records, live
from sendtide.lab.spoiler import POISONS, Spoiler
from sendtide.lab.uplift import ArmEffect, Money, uplift

__all__ = ["POISONS", "SEGMENTS", "ZONES", "Drift", "Ledger", "Population", "Scenario", "Score"]
__all__ += ["Simulator", "Spoiler", "auc", "beta_binomial", "event_records", "live", "log_loss"]
__all__ += ["NextOpen", "by_quarter", "calibration_error", "machine_like", "next_open_hours"]
__all__ += ["Backtest", "ByLog", "ByModel", "Foreseen", "Sent", "by_log", "by_model", "by_period"]
__all__ += ["calibration_curve"]
__all__ += ["month_names", "sender_hours"]
__all__ += ["ArmEffect", "Money", "uplift"]
__all__ += ["PlaceboCounts", "PlaceboSettings", "run_placebo"]
__all__ += ["Decisions", "PolicyValue", "evaluate", "quarter_names", "refusal", "score"]
