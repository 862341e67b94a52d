"""`sendtide simulate`: a simulated provider that sends mail and reacts to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import numpy as np
import typer

from sendtide import lab
from sendtide.commands.options import (
    JsonFile,
    Kafka,
    KafkaConfig,
    PipelineFile,
    pipeline_of,
    servers_of,
)
from sendtide.commands.output import progress, publish
from sendtide.commands.program import new_program
from sendtide.commands.sending import Sender
from sendtide.commands.stopping import Stop
from sendtide.events.topics import SENDS
from sendtide.events.wire import Records
from sendtide.lab import Scenario, Simulator, Spoiler
from sendtide.pipeline import Pipeline

__all__ = ["program", "simulate"]

program = new_program()

_DAY_MS: Final = 86_400_000
_SHARES: Final = {"duplicate": 0.01, "late": 0.003, "poison": 0.003}
_ERASED_SHARE: Final = 0.0005


@program.command()
def simulate(
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    history: Annotated[
        int, typer.Option(min=0, metavar="EVENTS", help="Events of the past, sent first.")
    ] = 0,
    days: Annotated[float, typer.Option(min=0.01, help="Days the past goes back.")] = 21.0,
    live: Annotated[
        float, typer.Option(min=0, metavar="RATE", help="Then events a second as they happen.")
    ] = 0.0,
    duration: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="End the live part after this.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same people.")] = 1,
    clients: Annotated[int, typer.Option(min=1)] = 20,
    recipients: Annotated[int, typer.Option(min=1)] = 2_000,
    reaction_speed: Annotated[
        float, typer.Option(min=0.001, help="Reactions are this much faster than in life.")
    ] = 1.0,
    hot_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the recipients that are one client's.")
    ] = 0.0,
    spoil: Annotated[
        bool,
        typer.Option("--spoil", help="Mix in duplicates, late and broken records, erasures."),
    ] = False,
    content: Annotated[
        bool,
        typer.Option(
            "--content/--no-content", help="Sends tell subject, variant and images, which matter."
        ),
    ] = True,
    json: JsonFile = None,
) -> None:
    """Send simulated mail, opens, clicks and requests: a past, then the present until stopped.

    Example: `sendtide simulate --kafka localhost:9092 --history 100000 --live 500 --for 60 --spoil`
    """
    servers, deployment = servers_of(kafka, kafka_config), pipeline_of(pipeline)
    scenario = Scenario(
        seed=seed,
        clients=clients,
        recipients=recipients,
        reaction_speed=reaction_speed,
        hot_share=hot_share,
        content_told=content,
        provider_told=True,
        agents_told=True,
    )
    simulator = Simulator(scenario)
    trouble = _Trouble(seed, deployment) if spoil else None
    started = time.monotonic()
    with Stop() as stop, Sender(servers, deployment.topics.prefix) as sender:
        for records in _history(simulator, history, days, stop):
            sender.send(trouble.mixed(records) if trouble else records)
        deadline = None if duration is None else time.monotonic() + duration
        for records in _live(simulator, live, deadline, stop):
            sender.send(trouble.mixed(records) if trouble else records)
    seconds = time.monotonic() - started
    result = {
        "events": sender.sent,
        "seconds": seconds,
        "events_per_s": sender.sent / seconds,
        "planted": trouble.planted() if trouble else {},
    }
    publish(result, json, f"{sender.sent:,} events sent in {seconds:.1f} s")


def _history(simulator: Simulator, events: int, days: float, stop: Stop) -> Iterator[Records]:
    if not events:
        return
    end_ms = time.time_ns() // 1_000_000
    with progress() as bar:
        task = bar.add_task("history", total=events)
        for records in simulator.history(end_ms - round(days * _DAY_MS), end_ms, events):
            if stop.asked:
                return
            yield records
            bar.advance(task, len(records))


def _live(
    simulator: Simulator, rate: float, deadline: float | None, stop: Stop
) -> Iterator[Records]:
    if not rate:
        return
    for records in lab.live(simulator, rate):
        if stop.asked or (deadline is not None and time.monotonic() > deadline):
            return
        yield records


class _Trouble:
    """What real streams bring: the lab's spoiler, and now and then a request to be forgotten."""

    def __init__(self, seed: int, pipeline: Pipeline) -> None:
        inputs = (pipeline.sends, pipeline.engagements, pipeline.requests)
        lateness_ms = max(topic.allowed_lateness_ms for topic in inputs)
        self._spoiler = Spoiler(seed=seed, lateness_ms=lateness_ms, **_SHARES)
        self._rng = np.random.default_rng([seed, 17])
        self._erasures = 0

    def mixed(self, records: Records) -> Records:
        """All of `records` with the trouble in between, erasures after them."""
        if not len(records):
            return records
        spoiled = self._spoiler.spoil(records)
        chosen = np.flatnonzero(self._rng.random(len(records)) < _ERASED_SHARE).tolist()
        self._erasures += len(chosen)
        last_ms = spoiled.timestamps_ms[-1]
        return Records(
            topics=spoiled.topics,
            topic=np.append(
                spoiled.topic, np.full(len(chosen), spoiled.topics.index(SENDS.name), np.uint8)
            ),
            keys=[*spoiled.keys, *(records.keys[row] for row in chosen)],
            values=[*spoiled.values, *(None for _ in chosen)],
            timestamps_ms=np.append(spoiled.timestamps_ms, np.full(len(chosen), last_ms)),
        )

    def planted(self) -> dict[str, Any]:
        """What was mixed in, by topic."""
        spoilt = {topic: dict(counts) for topic, counts in self._spoiler.planted.items()}
        return {**spoilt, "erasures": self._erasures}
