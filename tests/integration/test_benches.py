"""Benches whose figures are compared: what they print hangs together, whatever the time it takes.

How fast it is depends on the machine and is no test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

EMAILS = 1_000_000


def bench(folder, *words: str, timeout_s: float) -> dict[str, Any]:
    """What `sendtide bench <words>` prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "sendtide.commands", "bench", *words, "--json", "-"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_million_requests_that_wait_get_a_million_predictions(tmp_path):
    """An answer for each."""
    words = ["time-trial", "--emails", str(EMAILS), "--recipients", "100000", "--workers", "1"]
    found = bench(tmp_path, *words, timeout_s=900)
    assert found["emails"] == found["predictions"] == EMAILS
    assert (found["recipients"], found["workers"], found["broker"]) == (100_000, 1, "embedded")
    assert found["seconds"] == pytest.approx(EMAILS / found["emails_per_s"])
    slower = found["emails_per_s"] / found["consume_only_per_s"]
    assert found["ratio_consume"] == pytest.approx(slower)


def test_every_rival_reads_what_the_worker_reads(tmp_path):
    """One whose client cannot read the records would give no figure."""
    found = bench(tmp_path, "worker", "--events", "20000", "--repeats", "1", timeout_s=300)
    speeds = {name: value for name, value in found.items() if name.endswith("_per_s")}
    assert len(speeds) >= 3
    assert all(speed > 0 for speed in speeds.values())
