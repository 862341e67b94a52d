"""One row of the matrix under way: its topics, its load, its workers, and what is seen of them."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from subprocess import TimeoutExpired
from typing import Final

from sendtide.chaos.judge import Verdict, expectation, judge, taken_in
from sendtide.chaos.load import Load, mail
from sendtide.chaos.recount import Record
from sendtide.chaos.stand import Stand
from sendtide.chaos.watch import OrderWatch
from sendtide.events.errors import Unavailable
from sendtide.events.topics import EXAMPLES, TOPICS
from sendtide.local import ServerProcess, start_program
from sendtide.pipeline import load_pipeline
from sendtide.transport import TopicSpec, create_topics

__all__ = ["PARTITIONS", "Trial"]

PARTITIONS: Final = 4
_PIPELINE: Final = """
[topics]
prefix = "{prefix}"
partitions = {partitions}
client_partitions = 3
[join]
horizon = "{horizon}"
[snapshots]
interval = "1s"
"""
_LATENESS_MS: Final = 6 * 3_600_000
_LOOK_S: Final = 0.05
_PATIENCE_S: Final = 120.0
_RATE: Final = 2_500.0
_SESSION_S: Final = 4
_ABORT_S: Final = 10.0
_SHOWING_S: Final = 1.0
_IN_FLIGHT_S: Final = 1.0
_TAIL_BYTES: Final = 12_000


@dataclass
class Trial:
    """What a row's function works with. fired, in_flight: the row's proofs, set as it goes."""

    stand: Stand
    name: str
    seed: int
    events: int = 20_000
    trouble: float = 0.01
    zipf: float = 1.1
    break_promise: str = ""
    fired: bool = False
    in_flight: bool = False
    healed_at: float = 0.0
    recovered_s: float | None = None
    replay: bool = True
    notes: list[str] = field(default_factory=list)
    workers: list[ServerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.stand.folder / self.name
        self.folder.mkdir(parents=True)
        self.undo = ExitStack()
        self.records: Sequence[Record] = mail(
            self.events, self.seed, trouble=self.trouble, zipf=self.zipf, lateness_ms=_LATENESS_MS
        )
        self._deploy(self.name, PARTITIONS)

    def _deploy(self, group: str, partitions: int) -> None:
        """Topics, load and watch of a deployment."""
        self.group, self.snapshots = group, self.folder / f"snapshots-{group}"
        self.file = self.folder / f"{group}.toml"
        text = _PIPELINE.format(prefix=f"{group}.", partitions=partitions, horizon="1h")
        self.file.write_text(text, "utf-8")
        self.pipeline = load_pipeline(self.file)
        specs = [
            TopicSpec(
                self.pipeline.topics.full_name(topic),
                self.pipeline.topics.partitions_of(topic),
                config={"message.timestamp.type": "LogAppendTime"},
            )
            for topic in TOPICS
        ]
        create_topics({"bootstrap.servers": self.stand.kafka, "log_level": 2}, specs)
        self.load = Load(self.stand.kafka, self.pipeline.topics.prefix, _RATE)
        self.watch = OrderWatch(self.stand, self.pipeline, group, self.snapshots)

    def rebuild(self, partitions: int) -> None:
        """Give these topics up: every record again, into new ones, from an empty Redis on."""
        seen = self.watch.findings
        self.stand.store.flushall()
        self._deploy(f"{self.name}-anew", partitions)
        self.watch.findings += seen
        self.load.send_now(self.records)

    # -- what a row does ------------------------------------------------------------------------

    def worker(
        self,
        *extra: str,
        at: str = "",
        clock_s: int = 0,
        lose: int = 0,
        prefix: Sequence[str] = (),
    ) -> ServerProcess:
        """Start one; `at`, `clock_s`, `lose`: see `sabotage`; `prefix`: what starts it."""
        number = len(self.workers) + 1
        sabotage = [*(["--at", at] if at else [])]
        sabotage += ["--clock", str(clock_s)] if clock_s else []
        sabotage += ["--lose", str(lose)] if lose else []
        sabotage += ["--break", self.break_promise] if self.break_promise else []
        if self.break_promise == "order":  # a transaction would put it right
            extra = (*extra, "--exactly-once", "off")
        module = "sendtide.chaos.sabotage" if sabotage else "sendtide.commands"
        command = [*prefix, sys.executable, "-m", module, *sabotage, "worker"]
        command += ["--kafka", self.stand.workers_kafka, "--redis", self.stand.workers_redis]
        command += ["--pipeline", str(self.file), "--group", self.group]
        command += ["--session-timeout", str(_SESSION_S), "--snapshots", str(self.snapshots)]
        command += ["--name", f"worker-{number}", *extra]
        environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONFAULTHANDLER"] = "1"
        started = start_program(
            f"worker-{number}", command, address="", logs=self.folder, environment=environment
        )
        self.workers.append(started)
        return started

    def start_load(self, begin: float = 0.0, end: float = 1.0) -> None:
        """Begin to produce this share of the records at the pace, once those before it are out.

        And once the last worker holds its partitions, or it would be given all of it as one chunk,
        or the load would be over before a slow start.
        """
        self.load.finish()
        if self.workers:
            last = self.workers[-1]
            self.wait("the worker", lambda: self.all_held() or not last.running)
        total = len(self.records)
        self.load.start(self.records[int(begin * total) : int(end * total)])

    def wait(self, what: str, done: Callable[[], object], timeout_s: float = _PATIENCE_S) -> None:
        """Wait until `done`, watching the order all the while.

        Raises:
            Unavailable: it does not come true in time.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            self.watch.look()
            if time.monotonic() > deadline:
                seen = f"{self.taken_in()} of {len(self.load.acked)} records are taken in"
                seen += f", {self._held()} of {self._all()} partitions held"
                seen += f"; not committed: {', '.join(self.watch.uncommitted()[:3]) or 'nothing'}"
                told = "\n".join(self._dying_words(worker) for worker in self.workers)
                msg = f"{what} did not happen within {timeout_s:.0f} s: {seen}\n{told}"
                raise Unavailable(msg)
            time.sleep(_LOOK_S)

    def _dying_words(self, worker: ServerProcess) -> str:
        """End of a worker's log; one that still runs ends here, and its threads say where."""
        if worker.running:
            worker.process.send_signal(signal.SIGUSR2)  # its tasks
            time.sleep(_SHOWING_S)
            worker.process.send_signal(signal.SIGABRT)
            with suppress(TimeoutExpired):
                worker.process.wait(_ABORT_S)
        return f"{worker.name}, {worker.log}:\n{worker.tail(_TAIL_BYTES)}"

    def wait_share(self, share: float, timeout_s: float = _PATIENCE_S) -> None:
        """Wait until this share of the records is taken in."""
        wanted = share * len(self.records)
        self.wait(f"{share:.0%} of the records", lambda: self.taken_in() >= wanted, timeout_s)

    def taken_in(self) -> int:
        """Records the gates have taken in, as published."""
        return taken_in(self.stand.store, self.pipeline)

    def taken_from(self) -> list[str]:
        """`topic/partition` of everything that has been counted."""
        names = (name.decode() for name in self.stand.store.hgetall("sendtide:1:totals"))
        return sorted({name.rpartition(":")[0] for name in names})

    def note_in_flight(self) -> None:
        """Prove that work is in flight now: stored by the broker, not yet taken in.

        What came last may just have been published, so what comes next is waited for.
        """
        deadline = time.monotonic() + _IN_FLIGHT_S
        while not self.in_flight and time.monotonic() < deadline:
            self.in_flight = len(self.load.acked) > self.taken_in()
            time.sleep(_LOOK_S / 10)

    def kill(self, worker: ServerProcess) -> None:
        """SIGKILL in the middle of work."""
        self.note_in_flight()
        worker.process.send_signal(signal.SIGKILL)
        self.fired = worker.process.wait() == -signal.SIGKILL

    def healed(self) -> None:
        """From now on nothing is wrong: the time to recover begins."""
        self.healed_at = time.monotonic()

    # -- how a row ends -------------------------------------------------------------------------

    def settle(self, bound_s: float) -> None:
        """Wait until all is taken in, delivered and committed, and let workers go.

        Counts that stay behind what is committed are for the judge to weigh, so they are noted.

        Raises:
            Unavailable: not all is committed within the bound.
        """
        self.load.finish()
        total = len(self.load.acked)
        deadline = time.monotonic() + bound_s
        self.wait(
            "a commit of all", lambda: self.watch.all_committed() and self.all_held(), bound_s
        )
        while (counted := self.taken_in()) < total:
            if time.monotonic() > deadline:
                self.notes.append(f"{counted} of {total} records are counted, all are committed")
                break
            time.sleep(_LOOK_S)
        began = self.healed_at or time.monotonic()
        self.recovered_s = round(max(0.0, time.monotonic() - began), 2)
        self._wait_still()
        for worker in self.workers:
            if worker.running and (code := worker.stop(60.0)):
                self.notes.append(f"{worker.name} ended with {code} when asked to stop")

    def lost_places(self, worker: ServerProcess) -> int:
        """Partitions that the worker has found its client to have lost, by its last beat."""
        beat = self.stand.store.get(f"sendtide:1:worker:{worker.name}")
        return sum(lag["lost_places"] > 0 for lag in json.loads(beat)["lags"]) if beat else 0

    def clock_of(self, worker: ServerProcess) -> float:
        """Seconds since 1970 as the worker has last told them; 0 before that."""
        beat = self.stand.store.get(f"sendtide:1:worker:{worker.name}")
        return float(json.loads(beat)["at_ms"]) / 1000 if beat else 0.0

    def all_held(self) -> bool:
        """True if the running workers hold every partition of both stages."""
        return self._held() == self._all()

    def _all(self) -> int:
        topics = self.pipeline.topics
        return topics.partitions + topics.partitions_of(EXAMPLES)

    def holds(self, worker: ServerProcess) -> int:
        """Partitions that a running worker holds, as it has last told."""
        beat = self.stand.store.get(f"sendtide:1:worker:{worker.name}")
        return int(json.loads(beat)["partitions"]) if beat and worker.running else 0

    def _held(self) -> int:
        return sum(map(self.holds, self.workers))

    def _wait_still(self) -> None:
        """Until stage B's counts stand still: its input is made by stage A."""
        before, since = None, time.monotonic()
        while time.monotonic() - since < 1.5:
            now = self.stand.store.hgetall("sendtide:1:totals")
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.2)

    def verdict(self) -> Verdict:
        """What the judge says."""
        found = judge(
            self.stand.kafka,
            self.stand.store,
            self.pipeline,
            self.group,
            str(self.snapshots),
            self.load.acked,
            replay=self.replay,
        )
        found.findings += self.watch.findings + self.notes
        found.order_ok = found.order_ok and not self.watch.findings
        return found

    def end(self) -> None:
        """Kill what still runs and undo what the row did to this machine (`undo`)."""
        for worker in self.workers:
            if worker.running:
                worker.process.send_signal(signal.SIGKILL)
                worker.process.wait()
        self.undo.close()

    def planted(self, bucket: str) -> int:
        """How many records of a bucket are in the load, by the recount."""
        return expectation(self.records, self.pipeline).total()[bucket]
