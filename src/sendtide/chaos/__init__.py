"""Faults on purpose, and a judge who shares no code with what is judged.

Comes in: a seed and which faults. Goes out: a row per fault that says whether it fired, whether it
met work in flight, and what it cost. Invariant: the judge recounts what was produced in plain
Python, from bytes the broker has acknowledged. Limit: one machine; no lost disks, no lying clocks
of hardware.
"""

from sendtide.chaos.matrix import (
    MUTATIONS,
    ROWS,
    Mutation,
    Result,
    Row,
    chosen,
    run_mutation,
    run_row,
)
from sendtide.chaos.proxy import FaultProxy
from sendtide.chaos.report import as_json, as_markdown
from sendtide.chaos.stand import Stand
from sendtide.chaos.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

__all__ = ["MUTATIONS", "ROWS", "Bandwidth", "FaultProxy", "Latency", "LimitData", "Mutation"]
__all__ += [
    "ResetPeer",
    "Result",
    "Row",
    "Slicer",
    "SlowClose",
    "Stand",
    "Timeout",
    "Toxic",
    "as_json",
    "as_markdown",
]
__all__ += ["chosen", "run_mutation", "run_row"]
