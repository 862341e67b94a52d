"""The matrix: which faults, in which order, within which bound, and the judge's own trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sendtide.chaos import contents, endpoints, logs, states, wires, workers
from sendtide.chaos.stand import Stand
from sendtide.chaos.trial import Trial
from sendtide.events.errors import SendtideError

__all__ = ["MUTATIONS", "ROWS", "Mutation", "Result", "Row", "chosen", "run_mutation", "run_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault. act injects it; bound_s: lag 0 within so many seconds after that (O5).

    needs: a program on the PATH, or a folder that must be writable; without it a row is left out.
    """

    fault: str
    act: Callable[[Trial], None]
    short: bool = False
    events: int = 20_000
    bound_s: float = 60.0
    trouble: float = 0.01
    zipf: float = 1.1
    needs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row's outcome; the fields up to `ok` are fixed. digest_ok None: not replayed."""

    fault: str
    fired: bool
    in_flight: bool
    lost: int
    double: int
    order_ok: bool
    digest_ok: bool | None
    recovered_s: float | None
    ok: bool
    seconds: float
    findings: tuple[str, ...] = ()


ROWS: Final = (
    Row(fault="worker killed mid-batch", act=workers.kill_mid_batch, short=True),
    Row(fault="worker stopped (SIGTERM)", act=workers.stop_in_order, short=True),
    Row(fault="zombie resumes", act=workers.zombie, short=True),
    Row(
        fault="killed mid-snapshot",
        act=workers.at_point("mid_snapshot", 2, at_rest=True),
        events=40_000,
        short=True,
    ),
    Row(fault="Kafka connections reset", act=wires.kafka_wire(None), short=True),
    Row(fault="Redis out of memory", act=wires.redis_full, short=True),
    Row(fault="Redis refuses connections", act=wires.wire_down("redis"), short=True),
    Row(fault="Kafka restarts on its data", act=wires.broker_restart, short=True),
    Row(fault="killed before apply", act=workers.at_point("before_apply", 15)),
    Row(fault="killed after apply", act=workers.at_point("after_apply", 15)),
    Row(fault="killed before commit", act=workers.at_point("before_commit", 3)),
    Row(
        fault="killed before snapshot",
        act=workers.at_point("before_snapshot", 2, at_rest=True),
        events=40_000,
    ),
    Row(fault="SIGTERM twice", act=workers.stop_twice),
    Row(fault="Kafka client loses its place", act=workers.places_lost),
    Row(fault="rebalance storm", act=workers.rebalance_storm, events=100_000, bound_s=90),
    Row(fault="clock skew", act=workers.clock_skew),
    Row(fault="Kafka paused", act=wires.broker_paused),
    Row(fault="Kafka away at start", act=wires.kafka_away_at_start),
    Row(fault="Kafka latency", act=wires.kafka_wire(wires.SLOW)),
    Row(fault="Kafka slicer", act=wires.kafka_wire(wires.SLICED)),
    Row(fault="Kafka limit_data", act=wires.kafka_wire(wires.LIMITED)),
    Row(fault="Kafka bandwidth", act=wires.kafka_wire(wires.NARROW)),
    Row(fault="Kafka timeout", act=wires.kafka_wire(wires.STALLED)),
    Row(fault="Kafka slow_close", act=wires.kafka_closed_late),
    Row(fault="Kafka down", act=wires.wire_down("kafka")),
    Row(fault="Redis latency", act=wires.redis_wire(wires.SLOW)),
    Row(fault="Redis connections reset", act=wires.redis_wire(None)),
    Row(fault="Redis slicer", act=wires.redis_wire(wires.SLICED)),
    Row(fault="Redis limit_data", act=wires.redis_wire(wires.LIMITED_WRITES)),
    Row(fault="Redis timeout", act=wires.redis_wire(wires.STALLED)),
    Row(fault="Redis paused", act=wires.redis_paused),
    Row(fault="Redis read-only", act=wires.redis_read_only),
    Row(fault="Redis killed", act=wires.redis_killed),
    Row(fault="Redis flushed", act=wires.redis_flushed),
    Row(fault="Redis flushed at rest", act=wires.redis_flushed_at_rest),
    Row(fault="Redis rolled back", act=wires.redis_rolled_back),
    Row(fault="snapshots corrupt", act=states.spoilt(states.corrupt), events=40_000),
    Row(fault="snapshots truncated", act=states.spoilt(states.truncated), events=40_000),
    Row(fault="snapshots foreign", act=states.spoilt(states.foreign), events=40_000),
    Row(fault="snapshots older", act=states.spoilt(states.older), events=40_000),
    Row(fault="snapshots not writable", act=states.folder_gone, events=40_000),
    Row(fault="snapshots on a full disk", act=states.disk_full, events=40_000, needs="mount"),
    Row(fault="memory capped", act=workers.memory_capped, needs=workers.MEMORY_GROUPS),
    Row(fault="poison", act=contents.poison, trouble=0.07),
    Row(fault="disorder", act=contents.disorder),
    Row(fault="repeats across a restart", act=contents.repeats_across_restart, trouble=0.0),
    Row(fault="newer minor, unknown major", act=contents.other_versions, trouble=0.0),
    Row(fault="hot client", act=contents.hot_client, zipf=3.0),
    Row(fault="backlog", act=contents.backlog, events=60_000),
    Row(fault="HTTP abuse", act=endpoints.http_abuse),
    Row(fault="readers dropped", act=endpoints.readers_dropped),
    Row(fault="topic grown", act=logs.topic_grown),
    Row(fault="topic deleted", act=logs.topic_deleted),
    Row(fault="records deleted unread", act=contents.deleted_range),
)


def run_row(stand: Stand, row: Row, seed: int, *, broken: str = "") -> Result:
    """Run one row on healthy servers; what fails is part of the result, never an exception."""
    began = time.monotonic()
    stand.heal()
    name = "".join(c if c.isalnum() else "-" for c in f"{row.fault} {seed}".lower())
    trial = Trial(
        stand, name + broken, seed, row.events, row.trouble, row.zipf, break_promise=broken
    )
    found, failure = None, list[str]()
    try:
        row.act(trial)
        trial.settle(row.bound_s)
        found = trial.verdict()
    except (SendtideError, RuntimeError, AssertionError) as error:
        failure.append(str(error))
    finally:
        trial.end()
    return _result(row, trial, found, failure, time.monotonic() - began)


def _result(row: Row, trial: Trial, found: Any, failure: list[str], seconds: float) -> Result:
    lost, double = (found.lost, found.double) if found else (-1, -1)
    good = found is not None and found.order_ok and found.digest_ok is not False
    ok = trial.fired and trial.in_flight and good and lost == double == 0 and not trial.notes
    return Result(
        fault=row.fault,
        fired=trial.fired,
        in_flight=trial.in_flight,
        lost=lost,
        double=double,
        order_ok=bool(found and found.order_ok),
        digest_ok=found.digest_ok if found else False,
        recovered_s=trial.recovered_s,
        ok=ok,
        seconds=round(seconds, 1),
        findings=(*(found.findings if found else ()), *failure),
    )


@dataclass(frozen=True, slots=True)
class Mutation:
    """A promise that is broken on purpose, and the row whose judge must notice."""

    mutation: str
    breaks: str
    row: Row


MUTATIONS: Final = (
    Mutation("fence off", "fence", Row(fault="zombie resumes", act=workers.zombie)),
    Mutation(
        "commit before apply", "order", Row(fault="killed", act=workers.kill_mid_batch, bound_s=90)
    ),
    Mutation(
        "de-duplication off",
        "dedupe",
        Row(fault="repeats across a restart", act=contents.repeats_across_restart, trouble=0.0),
    ),
)


def run_mutation(stand: Stand, mutation: Mutation, seed: int) -> tuple[dict[str, Any], Result]:
    """`caught` if the fault fired and the judge, not a failure of the run, found a difference."""
    result = run_row(stand, mutation.row, seed, broken=f"{mutation.breaks}")
    caught = result.fired and (result.lost > 0 or result.double > 0)
    return {"mutation": mutation.mutation, "caught": caught}, result


def chosen(which: Sequence[str], *, short: bool) -> Iterator[Row]:
    """Rows of a set, or those whose name holds one of the words."""
    for row in ROWS:
        if any(word.lower() in row.fault.lower() for word in which) or (
            not which and (row.short or not short)
        ):
            yield row
