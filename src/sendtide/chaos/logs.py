"""Faults of the topics themselves: grown or deleted while workers run."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, NewPartitions

from sendtide.chaos.trial import PARTITIONS, Trial
from sendtide.events.topics import ENGAGEMENTS, SENDS
from sendtide.local import ServerProcess

__all__ = ["topic_deleted", "topic_grown"]

_ANSWER_S = 30.0
_REFUSAL_S = 60.0
_USAGE = 2


def topic_grown(trial: Trial) -> None:
    """A topic gets twice its partitions under load: refused by name, then all is built anew."""
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.25)
    trial.note_in_flight()
    topic = trial.pipeline.topics.full_name(SENDS)
    admin = _admin(trial)  # kept until the answer is in: it dies with it
    asked = admin.create_partitions([NewPartitions(topic, 2 * PARTITIONS)])
    asked[topic].result(_ANSWER_S)
    _expect_refusal(trial, worker, f"{topic}: {2 * PARTITIONS}, must be {PARTITIONS}")
    trial.load.finish()
    trial.healed()
    trial.rebuild(2 * PARTITIONS)
    trial.worker()


def topic_deleted(trial: Trial) -> None:
    """A topic is deleted before all of it is read: refused by name, then all is built anew."""
    worker = trial.worker()
    trial.wait("the worker", trial.all_held)
    trial.load.send_now(trial.records)
    trial.note_in_flight()
    topic = trial.pipeline.topics.full_name(ENGAGEMENTS)
    admin = _admin(trial)
    admin.delete_topics([topic])[topic].result(_ANSWER_S)
    _expect_refusal(trial, worker, f"{topic}: missing, must be {PARTITIONS}")
    trial.healed()
    trial.rebuild(PARTITIONS)
    trial.worker()


def _admin(trial: Trial) -> AdminClient:
    return AdminClient({"bootstrap.servers": trial.stand.kafka})


def _expect_refusal(trial: Trial, worker: ServerProcess, sentence: str) -> None:
    """The running worker ends and says why; one that is started now does not even begin."""
    trial.wait("the refusal", lambda: not worker.running, _REFUSAL_S)
    late = trial.worker()
    trial.wait("the refusal at the start", lambda: not late.running, _REFUSAL_S)
    told = [sentence in one.log.read_text("utf-8", "replace") for one in (worker, late)]
    trial.fired = all(told) and late.process.returncode == _USAGE
    if not trial.fired:
        trial.notes.append(f"{sentence!r} is said by worker, next worker: {told}")
    beyond = [name for name in trial.taken_from() if int(name.rpartition("/")[2]) >= PARTITIONS]
    if beyond:
        trial.notes.append(f"records of {beyond} were taken in without a word")
