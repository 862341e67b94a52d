"""The time trial with a million e-mails: an answer for each, whatever the time it takes here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

EMAILS = 1_000_000


def test_a_million_requests_that_wait_get_a_million_predictions(tmp_path):
    """The figures hang together; how fast it is depends on the machine and is no test."""
    words = ["bench", "time-trial", "--emails", str(EMAILS), "--recipients", "100000"]
    done = subprocess.run(
        [sys.executable, "-m", "sendtide.commands", *words, "--workers", "1", "--json", "-"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["emails"] == found["predictions"] == EMAILS
    assert (found["recipients"], found["workers"], found["broker"]) == (100_000, 1, "embedded")
    assert found["seconds"] == pytest.approx(EMAILS / found["emails_per_s"])
    slower = found["emails_per_s"] / found["consume_only_per_s"]
    assert found["ratio_consume"] == pytest.approx(slower)
