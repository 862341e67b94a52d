"""`sendtide replay`: an archive of the past through the whole system, and how well it predicted."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from sendtide import lab
from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import JsonFile, Kafka, KafkaConfig, RedisUrl, servers_of
from sendtide.commands.output import note, progress, publish
from sendtide.commands.own_pipeline import NEWSLETTERS, own_pipeline
from sendtide.commands.program import new_program
from sendtide.commands.readings import at_work
from sendtide.commands.sending import Sender
from sendtide.connectors import Newsletters
from sendtide.events.errors import CorruptData, Unavailable
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader

__all__ = ["PROGRESSIVE_ROW", "program"]

program = new_program("Send an archive of the past in order of event time and score predictions.")

PROGRESSIVE_ROW: Final = np.dtype(
    [("origin", "<i4"), ("send_offset", "<i8"), ("prediction", "<f8"), ("label", "u1")]
)
"""One learned row in a worker's progressive log: what was predicted before it was learned."""
_READY_S: Final = 60.0
_STILL_S: Final = 60.0
_PARTITIONS: Final = 4


@program.callback()
def about() -> None:
    """Send an archive of the past in order of event time and score the predictions made on it."""


@dataclass(frozen=True, slots=True)
class _Replayed:
    """What the worker logged, and how long it took for how many records."""

    rows: NDArray[np.void]
    records: int
    seconds: float


@program.command()
def newsletters(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet, one row per delivery.")],
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Logs and the progressive log.")] = Path(
        ".sendtide"
    ),
    partitions: Annotated[int, typer.Option(min=1, max=64)] = _PARTITIONS,
    seed: Annotated[int, typer.Option(help="Of the drawn times of opens and clicks.")] = 1,
    json: JsonFile = None,
) -> None:
    """Replay past newsletter deliveries and score P(open), predicted before each was learned.

    Every delivery is predicted when its week is over, from what was known when it was sent, and
    learned only then. Beside it: a Beta-Binomial per subscriber. Servers are embedded unless
    given; the topics are this run's own and are deleted in the end.

    Example: `sendtide replay newsletters newsletters.parquet --json scores.json`
    """
    archive = Newsletters(file, seed=seed)
    note(f"{archive.rows:,} deliveries, {archive.engagements:,} engagements")
    path, pipeline = own_pipeline(data, "replay", partitions=partitions, base=NEWSLETTERS)
    servers = servers_of(kafka, kafka_config) if kafka else None
    log = data / "progressive.bin"
    log.unlink(missing_ok=True)
    specs = topic_specs(pipeline)
    try:
        with Cluster(data, kafka=servers, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                replayed = _replay(cluster, pipeline, archive, log)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)
    result = _scores(archive, replayed)
    publish(result, json, _sentence(result))


def _replay(cluster: Cluster, pipeline: Pipeline, archive: Newsletters, log: Path) -> _Replayed:
    group = pipeline.topics.prefix.rstrip(".")
    worker = cluster.start_worker(1, "--progressive-log", str(log), "--group", group)
    with closing(RedisReader(cluster.redis, patience_s=2.0)) as reader:
        worker.wait_until(lambda: at_work(reader), _READY_S)
    started = time.monotonic()
    with progress() as bar:
        sending = bar.add_task("sent", total=archive.rows + archive.engagements)
        learned = bar.add_task("learned", total=archive.rows)
        with Sender(cluster.kafka, pipeline.topics.prefix) as sender:
            lateness_ms = pipeline.engagements.allowed_lateness_ms
            for records in archive.records(
                partitions=pipeline.topics.partitions, lateness_ms=lateness_ms
            ):
                sender.send(records)
                cluster.check()
                bar.update(sending, completed=sender.sent)
                bar.update(learned, completed=_logged(log))
        _wait_for(archive.rows, log, cluster, lambda rows: bar.update(learned, completed=rows))
    seconds = time.monotonic() - started
    cluster.end([worker])
    return _Replayed(read_progressive_log(log), sender.sent, seconds)


def _logged(log: Path) -> int:
    return log.stat().st_size // PROGRESSIVE_ROW.itemsize if log.exists() else 0


def _wait_for(rows: int, log: Path, cluster: Cluster, tell: Any) -> None:
    """Wait until every delivery has been predicted and learned."""
    moved, seen = time.monotonic(), -1
    while (logged := _logged(log)) < rows:
        cluster.check()
        tell(logged)
        if logged != seen:
            moved, seen = time.monotonic(), logged
        if time.monotonic() - moved > _STILL_S:
            msg = (
                f"{logged:,} of {rows:,} deliveries were learned, then none for {_STILL_S:.0f} s; "
                f"look at the worker's log in {cluster.logs}"
            )
            raise Unavailable(msg)
        time.sleep(0.1)
    tell(logged)


def read_progressive_log(log: Path) -> NDArray[np.void]:
    """Rows of a worker's progressive log, each delivery once.

    Raises:
        CorruptData: part of a row, or a delivery twice.
    """
    content = log.read_bytes() if log.exists() else b""
    if len(content) % PROGRESSIVE_ROW.itemsize:
        msg = f"{log} holds {len(content)} bytes, no whole rows of {PROGRESSIVE_ROW.itemsize}"
        raise CorruptData(msg)
    rows = np.frombuffer(content, PROGRESSIVE_ROW)
    distinct = len(np.unique(rows[["origin", "send_offset"]]))
    if distinct != len(rows):
        msg = f"{log} holds {len(rows)} rows of {distinct} deliveries; some were learned twice"
        raise CorruptData(msg)
    return rows


def _scores(archive: Newsletters, replayed: _Replayed) -> dict[str, Any]:
    """Scores of the system and of the baseline, on the same deliveries.

    Raises:
        CorruptData: the system's labels are not the file's.
    """
    rows = replayed.rows
    opened = int(rows["label"].sum())
    if len(rows) != archive.rows or opened != int(archive.opened.sum()):
        msg = (
            f"{len(rows):,} labels with {opened:,} opens were learned; the file has "
            f"{archive.rows:,} with {int(archive.opened.sum()):,}; the join is wrong"
        )
        raise CorruptData(msg)
    own = lab.score(rows["label"] > 0, np.asarray(rows["prediction"], np.float64))
    guess = lab.beta_binomial(archive.subscriber, archive.sent_at_ms, archive.opened)
    baseline = lab.score(archive.opened, guess)
    return {
        "rows": own.rows,
        "auc": own.auc,
        "log_loss": own.log_loss,
        "baseline_auc": baseline.auc,
        "baseline_log_loss": baseline.log_loss,
        "events": replayed.records,
        "seconds": replayed.seconds,
        "events_per_s": replayed.records / replayed.seconds,
    }


def _sentence(result: dict[str, Any]) -> str:
    return (
        f"{result['rows']:,} deliveries predicted, then learned, at {result['events_per_s']:,.0f} "
        f"events/s\nopen propensity  AUC {result['auc']:.4f}  log loss {result['log_loss']:.4f}\n"
        f"Beta-Binomial    AUC {result['baseline_auc']:.4f}  log loss "
        f"{result['baseline_log_loss']:.4f}"
    )
