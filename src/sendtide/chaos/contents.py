"""Faults of the records themselves: poison, repeats, disorder, other versions, deleted ranges."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from sendtide.chaos.judge import totals
from sendtide.chaos.recount import Record
from sendtide.chaos.trial import Trial
from sendtide.events.topics import INPUTS

__all__ = ["backlog", "deleted_range", "disorder", "hot_client", "other_versions", "poison"]
__all__ += ["repeats_across_restart"]

_LARGEST_MB: Final = 1_500
_NEAR: Final = 200
_ANSWER_S: Final = 30.0


def _run(trial: Trial) -> None:
    """A load without another fault."""
    trial.worker()
    trial.start_load()
    trial.wait_share(0.3)
    trial.note_in_flight()
    trial.load.finish()
    trial.healed()


def poison(trial: Trial) -> None:
    """A fifth of the records are poison, late or repeated."""
    trial.fired = trial.planted("dead_letter") > 0
    _run(trial)


def hot_client(trial: Trial) -> None:
    """One client has most of the mail."""
    clients = Counter((key or b"").partition(b":")[0] for _, key, _, _ in trial.records)
    trial.fired = clients.most_common(1)[0][1] > len(trial.records) // 2
    _run(trial)


def disorder(trial: Trial) -> None:
    """Records arrive shuffled, near and far, so that some are late."""
    records, rng = list(trial.records), random.Random(trial.seed)  # noqa: S311
    for start in range(0, len(records), _NEAR):
        part = records[start : start + _NEAR]
        rng.shuffle(part)
        records[start : start + _NEAR] = part
    early = records[: len(records) // 20]
    trial.records = [*records[len(early) :], *early]
    trial.fired = trial.planted("late") > len(early) // 4
    _run(trial)


def repeats_across_restart(trial: Trial) -> None:
    """Everything of the first third comes again after the worker was killed."""
    third = len(trial.records) // 3
    trial.records = [*trial.records, *trial.records[:third]]
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.4)
    trial.kill(worker)
    trial.fired = trial.fired and trial.planted("duplicate") >= third // 2
    trial.healed()
    trial.worker()


def other_versions(trial: Trial) -> None:
    """Every tenth record is of a newer minor version, every eleventh of an unknown major one."""

    def changed(number: int, record: Record) -> Record:
        topic, key, value, at_ms = record
        version = "1.7" if number % 10 == 0 else "2.0" if number % 11 == 0 else ""
        if not version or value is None:
            return record
        body: dict[str, Any] = {**json.loads(value), "version": version, "shape": {"new": [1, 2]}}
        return topic, key, json.dumps(body).encode(), at_ms

    trial.records = [changed(number, record) for number, record in enumerate(trial.records)]
    trial.fired = trial.planted("dead_letter") >= len(trial.records) // 13
    _run(trial)


def backlog(trial: Trial) -> None:
    """All records wait before the worker starts; its memory stays bounded."""
    trial.load.send_now(trial.records)
    worker = trial.worker()
    trial.note_in_flight()
    trial.wait_share(1.0)
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) // 1024
    trial.fired = True
    if peak_mb > _LARGEST_MB:
        trial.notes.append(f"the worker took {peak_mb} MB; the bound is {_LARGEST_MB}")
    trial.healed()


def deleted_range(trial: Trial) -> None:
    """The broker deletes what was not read yet; the loss is counted, the rest is exact."""
    first, gone, rest = _thirds(trial.records)
    worker = trial.worker()
    trial.load.send_now(first)
    trial.wait("the first third", lambda: trial.taken_in() >= len(first))
    assert worker.stop(60.0) == 0
    trial.load.send_now(gone)
    trial.note_in_flight()
    deleted = _delete_all(trial)
    del trial.load.acked[len(first) :]
    trial.load.send_now(rest)
    trial.replay = False
    trial.healed()
    trial.worker()
    trial.wait("the count of the loss", lambda: _missed(trial) >= len(gone))
    trial.fired = deleted > 0
    if _missed(trial) != len(gone):
        trial.notes.append(f"{len(gone)} records were deleted, {_missed(trial)} are reported")


def _thirds(records: Sequence[Record]) -> tuple[Sequence[Record], ...]:
    third = len(records) // 3
    return records[:third], records[third : 2 * third], records[2 * third :]


def _missed(trial: Trial) -> int:
    store, pipeline = trial.stand.store, trial.pipeline
    return sum(totals(store, pipeline, topic.name)["missed"] for topic in INPUTS)


def _delete_all(trial: Trial) -> int:
    """Delete all of the input topics; return how many partitions begin anew."""
    admin = AdminClient({"bootstrap.servers": trial.stand.kafka})
    everything = -1
    places = [
        TopicPartition(trial.pipeline.topics.full_name(topic), number, everything)
        for topic in INPUTS
        for number in range(trial.pipeline.topics.partitions)
    ]
    answers = admin.delete_records(places, request_timeout=_ANSWER_S)
    return sum(answer.result(_ANSWER_S).low_watermark > 0 for answer in answers.values())
