"""Faults on purpose, and a judge who shares no code with what is judged.

Comes in: a seed and which faults. Goes out: a row per fault that says whether it fired, whether it
met work in flight, and what it cost. Invariant: the judge recounts what was produced in plain
Python, from bytes the broker has acknowledged. Limit: one machine; no lost disks, no lying clocks
of hardware.
"""

from sendtide.chaos.proxy import FaultProxy
from sendtide.chaos.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    SlowClose,
    Slicer,
    Timeout,
    Toxic,
)

__all__ = ["Bandwidth", "FaultProxy", "Latency", "LimitData", "ResetPeer", "Slicer", "SlowClose"]
__all__ += ["Timeout", "Toxic"]
