"""A worker is warm before it takes its first event."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from numba.core.dispatcher import Dispatcher
from sendtide.pipeline import Pipeline
from sendtide.stages.warm_up import warm_up

warm_up(Pipeline())
for name, module in sorted(sys.modules.items()):
    if name.startswith("sendtide."):
        for attribute, value in vars(module).items():
            if isinstance(value, Dispatcher) and value.signatures:
                print(f"{value.py_func.__module__}.{attribute}")
"""
HOT = {
    "sendtide.gate.compiled.read_sends",
    "sendtide.gate.compiled.read_engagements",
    "sendtide.gate.compiled.read_requests",
    "sendtide.recipients.rows.send_rows",
    "sendtide.recipients.rows.engagement_rows",
    "sendtide.recipients.rows.request_rows",
    "sendtide.recipients.join.settle",
    "sendtide.recipients.join.take_due",
    "sendtide.recipients.history.histories",
    "sendtide.recipients.history.evidence_of",
    "sendtide.models.rhythm.learn_populations",
    "sendtide.models.send_time.score_recipients",
    "sendtide.models.policy.choose",
}


def test_what_events_need_is_compiled_before_they_come():
    """In a process of its own: gates, join, learning, scoring, the decision of a request."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not HOT - set(ran.stdout.split())
