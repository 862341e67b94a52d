"""A worker as a process: signals and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import sendtide

from .conftest import Broker

PROGRAM = """
import sys, time
import faust
from sendtide.transport import Settings, chunk_topic, configure, run_worker
from sendtide.transport.driver import register

register()
address, group, topic, mode, session_s = sys.argv[1:]
app = faust.App(
    group, broker=f"rdkafka://{address}", topic_allow_declare=False,
    broker_session_timeout=float(session_s), broker_heartbeat_interval=float(session_s) / 6,
    broker_commit_interval=60.0,
)
configure(app, Settings(chunk_messages=50, revoke_timeout_s=5, close_timeout_s=5))

@app.agent(chunk_topic(app, topic))
async def work(stream):
    async for chunk in stream:
        print("chunk", chunk.next_offset, flush=True)
        if mode == "crash":
            raise LookupError("no such column")
        time.sleep(0.01)

sys.exit(run_worker(app))
"""


class Worker:
    """A process under test; its output goes to files, so that nothing can block on a pipe."""

    def __init__(self, broker: Broker, folder: Path, topic: str, mode: str) -> None:
        program = folder / "worker.py"
        program.write_text(PROGRAM)
        self.output, self.errors = folder / "output", folder / "errors"
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(program),
                    *(broker.address, topic, topic, mode, str(broker.session_s)),
                ],
                stdout=output,
                stderr=errors,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(Path(sendtide.__file__).parents[1])},
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def first_output(self) -> None:
        """Wait until the worker has printed something."""
        deadline = time.monotonic() + 30
        while not self.output.read_text():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.02)


def test_sigterm_finishes_commits_and_leaves_with_code_zero(broker, tmp_path):
    """What was begun is committed though no commit was due, and the exit takes bounded time."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"x"] * 20_000})
    with Worker(broker, tmp_path, topic, "work") as worker:
        worker.first_output()
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0, worker.errors.read_text()
    begun = int(worker.output.read_text().split()[-1])
    assert 0 < begun < 20_000
    assert broker.committed(topic, [(topic, 0)]) == {(topic, 0): begun}


def test_a_crash_ends_with_code_one_and_without_a_commit(broker, tmp_path):
    """A supervisor outside sees that the worker failed and why, and its chunk is not lost."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"x"] * 10})
    with Worker(broker, tmp_path, topic, "crash") as worker:
        assert worker.process.wait(40) == 1, worker.errors.read_text()
    assert worker.output.read_text() == "chunk 10\n"
    assert "LookupError: no such column" in worker.errors.read_text()
    assert broker.committed(topic, [(topic, 0)])[topic, 0] < 0
