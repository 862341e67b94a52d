"""`sendtide bench`: figures, all parts of one run side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sendtide.commands import (
    bench_costs,
    bench_freshness,
    bench_memory,
    bench_recovery,
    bench_scale,
    bench_skew,
    bench_snapshots,
    bench_trial,
    bench_worker,
    rivals,
)
from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.options import JsonFile, Kafka, KafkaConfig, RedisUrl, servers_of
from sendtide.commands.output import publish
from sendtide.commands.program import new_program
from sendtide.models import LinearSettings
from sendtide.models.parity import measure_parity

__all__ = ["program"]

program = new_program("Measure this machine: parity, a worker's speed, freshness.")

_Data = Annotated[Path, typer.Option(metavar="DIR", help="Logs; removed by hand.")]
_LARGEST_DIFFERENCE = 1e-12


@program.command()
def parity(
    events: Annotated[int, typer.Option(min=1)] = 10_000,
    features: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    json: JsonFile = None,
) -> None:
    """Compare the compiled bank with River, row by row; exit 1 if they differ by more than 1e-12.

    Example: `sendtide bench parity --events 10000 --json -`
    """
    found = measure_parity(LinearSettings(scale=True), events, features)
    shown = (
        f"{found.events:,} events: largest difference {found.max_difference:.2g}, "
        f"{found.speed_ratio:,.0f} times as fast as River"
    )
    publish(asdict(found), json, shown)
    if found.max_difference > _LARGEST_DIFFERENCE:
        raise typer.Exit(CHECK_FAILED)


@program.command()
def worker(
    events: Annotated[int, typer.Option(min=10_000, help="Preloaded events.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Medians are over this many.")] = 3,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Measure one worker doing everything, beside stock Faust that only counts, and bare decoding.

    Each in a process of its own, in turn, on the same records, start-up left out. Servers are
    embedded unless given.

    Example: `sendtide bench worker --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    result = bench_worker.measure(
        bench_worker.Plan(events, repeats, partitions, data), servers, redis
    )
    publish(result, json, _lines(result))


@program.command()
def costs(
    events: Annotated[int, typer.Option(min=100_000)] = 1_000_000,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    chunk: Annotated[int, typer.Option(min=1, help="Records of a partition at a time.")] = 2_500,
    json: JsonFile = None,
) -> None:
    """Say where the processor time of an event goes in a worker, step by step, without servers.

    Example: `sendtide bench costs --partitions 64 --chunk 150 --json -`
    """
    result = bench_costs.measure(bench_costs.Plan(events, partitions, chunk))
    lines = [f"{'':<25}us a row  us an event"]
    lines += [
        f"{row['step']:<24} {row['us_per_row']:>8.2f} {row['us_per_event']:>12.2f}"
        for row in result["rows"]
    ]
    publish(result, json, "\n".join([*lines, f"{'all':<33} {result['us_per_event']:>12.2f}"]))


@program.command()
def freshness(
    load: Annotated[
        float | None,
        typer.Option(min=1, metavar="RATE", help="Events a second; without it half of the most."),
    ] = None,
    duration: Annotated[float, typer.Option("--for", min=2, metavar="SECONDS")] = 20.0,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Measure how soon an open changes the recipient's record and a metric in Redis, under load.

    Example: `sendtide bench freshness --load 20000 --for 30 --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    if load is None:
        plan = bench_worker.Plan(100_000, 1, partitions, data, rivals=False)
        load = bench_worker.measure(plan, servers, redis)["events_per_s"] / 2
    result = bench_freshness.measure(
        bench_freshness.Plan(load, duration, partitions, data), servers, redis
    )
    publish(result, json, _lines(result))


@program.command("time-trial")
def time_trial(
    emails: Annotated[int, typer.Option(min=10_000, help="Requests to answer.")] = 1_000_000,
    recipients: Annotated[
        int | None, typer.Option(min=1_000, help="Known before; without it a fifth of the e-mails.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="With two models each.")] = 2_000,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Answer requests that wait in Kafka, one prediction for each, and stop the time.

    The embedded broker holds everything in memory, about 1 GB for a million e-mails and their
    recipients; for many millions give Apache Kafka with --kafka.

    Example: `sendtide bench time-trial --emails 1000000 --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    known = recipients or max(clients, emails // 5)
    result = bench_trial.measure(
        bench_trial.Plan(emails, known, clients, workers, partitions, data), servers, redis
    )
    publish(result, json, _lines(result))


@program.command()
def memory(
    recipients: Annotated[int, typer.Option(min=1_000)] = 1_000_000,
    clients: Annotated[int, typer.Option(min=1)] = 2_000,
    json: JsonFile = None,
) -> None:
    """Measure the bytes that a known recipient takes in a worker.

    Example: `sendtide bench memory --recipients 10000000 --json -`
    """
    result = bench_memory.measure(bench_memory.Plan(recipients, min(clients, recipients)))
    publish(result, json, _lines(result))


@program.command()
def recovery(
    recipients: Annotated[int, typer.Option(min=1_000)] = 1_000_000,
    clients: Annotated[int, typer.Option(min=1)] = 2_000,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Kill a worker and measure how soon another stands where it stood; exit 1 if not exactly.

    Example: `sendtide bench recovery --recipients 10000000 --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    plan = bench_recovery.Plan(recipients, min(clients, recipients), partitions, data)
    result = bench_recovery.measure(plan, servers, redis)
    publish(result, json, _lines(result))
    if not result["exact"]:
        raise typer.Exit(CHECK_FAILED)


@program.command()
def scale(
    events: Annotated[int, typer.Option(min=10_000, help="Produced to each shape.")] = 1_000_000,
    shapes: Annotated[
        str, typer.Option(metavar="WORKERSxPARTITIONS,...", help="Measured in turn.")
    ] = "1x1,1x4,1x16,1x64,2x4,2x16,4x16,4x64",
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Measure what an event costs with 1, 2 and 4 workers over 1 to 64 partitions.

    Example: `sendtide bench scale --shapes 1x4,2x4 --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    plan = bench_scale.Plan(events, _shapes(shapes), data)
    result = bench_scale.measure(plan, servers, redis)
    publish(result, json, f"dearest over cheapest: {result['spread']:+.0%}")


def _shapes(text: str) -> tuple[tuple[int, int], ...]:
    try:
        pairs = [shape.split("x") for shape in text.split(",")]
        return tuple((int(workers), int(partitions)) for workers, partitions in pairs)
    except ValueError:
        msg = f"{text!r} is no list of shapes; give workers x partitions, such as 1x4,2x16"
        raise typer.BadParameter(msg, param_hint="--shapes") from None


@program.command()
def skew(
    load: Annotated[float, typer.Option(min=1, metavar="RATE")] = 20_000.0,
    duration: Annotated[float, typer.Option("--for", min=2, metavar="SECONDS")] = 20.0,
    hot_share: Annotated[float, typer.Option(min=0, max=1)] = 0.6,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Measure how much staler others become when one client has most of the mail.

    Example: `sendtide bench skew --hot-share 0.6 --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    plan = bench_freshness.Plan(load, duration, partitions, data)
    result = bench_skew.measure(plan, hot_share, servers, redis)
    publish(result, json, f"p99 of the others x {result['freshness_ratio']:.2f}")


@program.command()
def snapshots(
    events: Annotated[int, typer.Option(min=10_000, help="Produced in each run.")] = 1_000_000,
    every: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="Between two snapshots.")
    ] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Medians are over this many.")] = 3,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 4,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: _Data = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Measure what snapshots cost a worker that has more to do than it can.

    The pipeline's default is one every 30 seconds; a short run needs them oftener to have any.

    Example: `sendtide bench snapshots --every 3 --json -`
    """
    servers = servers_of(kafka, kafka_config) if kafka else None
    plan = bench_snapshots.Plan(events, every, repeats, partitions, data)
    result = bench_snapshots.measure(plan, servers, redis)
    publish(result, json, _lines(result))


def _lines(result: dict[str, Any]) -> str:
    return "\n".join(
        f"{name:<22} {value:,.4g}" if isinstance(value, float) else f"{name:<22} {value}"
        for name, value in result.items()
    )


program.command(name="stock-faust", hidden=True)(rivals.stock_faust)
program.command(name="consume-decode", hidden=True)(rivals.consume_decode)
program.command(name="consume-only", hidden=True)(rivals.consume_only)
