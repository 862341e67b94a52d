"""A worker is warm before it takes its first event."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from numba.core.dispatcher import Dispatcher
from sendtide.commands.bench_costs import Plan, measure
from sendtide.pipeline import Pipeline
from sendtide.stages.warm_up import warm_up

def compiled():
    return {
        (f"{value.py_func.__module__}.{attribute}", str(signature))
        for name, module in sorted(sys.modules.items())
        if name.startswith("sendtide.")
        for attribute, value in vars(module).items()
        if isinstance(value, Dispatcher)
        for signature in value.signatures
    }

warm_up(Pipeline())
warm = compiled()
measure(Plan(events=20_000, partitions=2, chunk=500))
for name, signature in sorted(warm):
    print("warm", name)
for name, signature in sorted(compiled() - warm):
    print("late", name, signature)
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


NOT_IN_WORKERS = ("sendtide.lab.", "sendtide.connectors.")


def test_what_events_need_is_compiled_before_they_come():
    """In a process of its own: gates, join, learning, scoring, the decision of a request.

    Then mail, in blocks read from bytes as they come from a topic: nothing is compiled for it,
    which would hold the event loop up for longer than a session.
    """
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    told = [line.split(" ", 2) for line in ran.stdout.splitlines()]
    assert not HOT - {words[1] for words in told if words[0] == "warm"}
    late = [words[1:] for words in told if words[0] == "late"]
    assert not [words for words in late if not words[0].startswith(NOT_IN_WORKERS)]
