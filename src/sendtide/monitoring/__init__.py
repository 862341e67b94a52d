"""Judgements over counts, losses and offsets: drift and its alarms, lag, lift over a control group.

Comes in: integer counts of windows, losses in order, offsets by time. Goes out: effects with
calibrated p-values, alarms that open and close, the health of a partition's consumer.
Invariant: a pure function of its input; a score always comes with its counts, p-value and
convention, and an alarm needs significance over all series of the window, an effect worth naming,
and several windows in a row.
Limit: nothing here forecasts; what it says of labels is as late as the labels.
"""

from sendtide.monitoring.adwin import LossWatch
from sendtide.monitoring.alarms import Alarms, AlarmSettings, discoveries
from sendtide.monitoring.lag import LagSample, LagWindow, Status
from sendtide.monitoring.lift import Lift, judge_lift
from sendtide.monitoring.psi import CELLS, CONVENTION, bin_rows, psi, psi_p_value, reference_edges

__all__ = [
    "CELLS",
    "CONVENTION",
    "AlarmSettings",
    "Alarms",
    "LagSample",
    "LagWindow",
    "Lift",
    "LossWatch",
    "Status",
    "bin_rows",
    "discoveries",
    "judge_lift",
    "psi",
    "psi_p_value",
    "reference_edges",
]
