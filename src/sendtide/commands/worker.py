"""`sendtide worker`: one worker process; start as many as there are partitions, at most."""

from __future__ import annotations

import logging
import os
import socket
from typing import Annotated, Final, Literal

import typer

from sendtide.commands.deployment import check_reachable, topic_specs
from sendtide.commands.options import (
    Kafka,
    KafkaConfig,
    PipelineFile,
    RedisUrl,
    pipeline_of,
    servers_of,
    url_of,
)
from sendtide.commands.program import new_program
from sendtide.stages import run_worker
from sendtide.stages.settings import WorkerSettings
from sendtide.state import signing_key
from sendtide.transport import verify_topics

__all__ = ["program", "worker"]

program = new_program()

_LOG_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@program.command()
def worker(
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    group: Annotated[
        str, typer.Option(help="Workers of one group share the partitions.")
    ] = "sendtide",
    name: Annotated[
        str | None, typer.Option(help="Name in metrics; without it host and process.")
    ] = None,
    snapshots: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead of the pipeline's snapshots.url.")
    ] = None,
    progressive_log: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Receives each learned row's prediction."),
    ] = None,
    session_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How soon a dead worker is replaced.")
    ] = 10.0,
    exactly_once: Annotated[
        Literal["auto", "on", "off"] | None,
        typer.Option(
            help="Outputs in transactions; instead of the pipeline's outputs.exactly_once."
        ),
    ] = None,
    watchdog: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="End itself after standing still for so long; 0: never."
        ),
    ] = 120.0,
) -> None:
    """Run one worker until SIGTERM or Ctrl-C. It finishes its work, writes it down, then leaves.

    Start the same command on more machines: they share the partitions. With SENDTIDE_SNAPSHOT_KEY
    or SENDTIDE_SNAPSHOT_KEY_FILE in the environment snapshots are signed, and others refused.

    Example: `sendtide worker --kafka kafka-1:9092,kafka-2:9092 --redis redis://cache:6379/0
    --kafka-config security.protocol=SASL_SSL --kafka-config secrets.conf`
    """
    servers, url, deployment = servers_of(kafka, kafka_config), url_of(redis), pipeline_of(pipeline)
    check_reachable(servers)
    verify_topics(servers.client(), topic_specs(deployment))
    logging.basicConfig(level=logging.INFO, format=_LOG_LINE)
    for framework in ("faust", "mode"):
        logging.getLogger(framework).setLevel(logging.WARNING)
    code = run_worker(
        WorkerSettings(
            kafka=servers.brokers,
            redis=url,
            pipeline=deployment,
            kafka_config=servers.config,
            group=group,
            snapshots_url=snapshots,
            progressive_log=progressive_log,
            name=name or _process_name(),
            session_timeout_s=session_timeout,
            watchdog_s=watchdog,
            exactly_once=exactly_once,
            snapshot_key=signing_key(),
        )
    )
    raise typer.Exit(code)


def _process_name() -> str:
    host = "".join(c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname())
    return f"worker-{host[:40]}-{os.getpid()}"
