"""The bench of one worker: all three fetch the same records."""

from __future__ import annotations

import json
import subprocess
import sys


def test_every_rival_reads_what_the_worker_reads(tmp_path):
    """One whose client cannot read the records would give no figure."""
    words = ["bench", "worker", "--events", "20000", "--repeats", "1", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "sendtide.commands", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    speeds = {name: value for name, value in found.items() if name.endswith("_per_s")}
    assert len(speeds) >= 3
    assert all(speed > 0 for speed in speeds.values())
