"""Everything at once, as a new user starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sendtide.local import free_port

KEYS = {"events", "predictions", "windows", "freshness_p99_s", "urls", "kafka", "redis"}


@pytest.fixture
def start(tmp_path):
    """Starts `sendtide up` as a child with its data in `tmp_path`; none outlives the test."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SENDTIDE_")}

    def run(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sendtide.commands", "up", "--port", str(free_port())]
        running = subprocess.Popen(
            [*command, "--data", str(tmp_path / "data"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        started.append(running)
        return running

    yield run
    for running in started:
        running.kill()
        running.communicate()


def test_up_runs_ends_by_itself_and_its_summary_adds_up(start, tmp_path):
    """Every simulated event is taken in and ends in exactly one bucket; nothing is left behind."""
    running = start("--for", "15", "--json", "-")
    output, notes = running.communicate(timeout=90)
    assert running.returncode == 0, notes.decode()
    result = json.loads(output)
    assert set(result) >= KEYS
    events = result["events"]
    buckets = [events[n] for n in ("applied", "duplicate", "late", "dead_letter", "erased")]
    assert sum(buckets) == events["in"] == result["simulated"] > 15_000
    assert all(buckets), events
    assert result["predictions"] > 0 < result["windows"]
    assert set(result["urls"]) == {"dashboard", "endpoint", "metrics"}
    assert b"dashboard http://127.0.0.1:" in notes
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["logs"]


def test_ctrl_c_stops_everything_in_order(start, tmp_path):
    """SIGINT ends the run with its summary; no child outlives it."""
    file = tmp_path / "run.json"
    running = start("--no-simulate", "--json", str(file))
    children = _children_once(running, 4)
    _wait_for_note(running, b"dashboard")
    running.send_signal(signal.SIGINT)
    _, notes = running.communicate(timeout=60)
    assert running.returncode == 0, notes.decode()
    assert json.loads(file.read_text())["events"]["in"] == 0
    assert not any(map(_lives, children))


def test_children_die_with_a_killed_parent(start):
    """SIGKILL of the parent leaves no orphan."""
    running = start("--no-simulate")
    children = _children_once(running, 4)
    running.kill()
    running.communicate()
    deadline = time.monotonic() + 10
    while any(map(_lives, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_lives, children))


def test_a_taken_port_is_told_before_anything_starts(program, tmp_path):
    """The sentence names the option that chooses another port; no folder is made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = program("up", "--port", port, "--data", str(tmp_path / "data"))
    assert ended.exit_code == 2
    assert "--port" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_made_is_exit_2(program, tmp_path):
    """What stands in the way is told, with the option that helps."""
    (tmp_path / "file").write_text("")
    ended = program("up", "--port", str(free_port()), "--data", str(tmp_path / "file" / "data"))
    assert ended.exit_code == 2
    assert "--data" in ended.stderr


def _children_once(running: subprocess.Popen[bytes], count: int) -> list[int]:
    """Process ids of the children once there are this many."""
    file = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = [int(word) for word in file.read_text().split()]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(running.stderr)


def _wait_for_note(running: subprocess.Popen[bytes], words: bytes) -> None:
    assert running.stderr is not None
    for line in running.stderr:
        if words in line:
            return
    raise AssertionError(words)


def _lives(pid: int) -> bool:
    """A zombie that nobody has reaped yet does not live."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
