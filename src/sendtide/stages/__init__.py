"""The wiring: transport, gate, state, models and sinks as Faust agents; no arithmetic here.

Comes in: settings. Goes out: a running process.
Invariant: a partition's chunks are applied in order, outputs are delivered before offsets move,
and a snapshot is written only when everything before it has been delivered.
"""

from sendtide.stages.settings import WorkerSettings
from sendtide.stages.worker import Worker, run_worker

__all__ = ["Worker", "WorkerSettings", "run_worker"]
