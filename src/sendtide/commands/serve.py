"""`sendtide serve`: the inference endpoint, its metrics and the dashboard, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sendtide import endpoint
from sendtide.commands.options import (
    Kafka,
    KafkaConfig,
    PipelineFile,
    RedisUrl,
    pipeline_of,
    servers_of,
    url_of,
)
from sendtide.commands.output import note
from sendtide.commands.program import new_program
from sendtide.dashboard import Dashboard
from sendtide.events.topics import MODELS
from sendtide.models.content_directory import ContentDirectory
from sendtide.sinks import RedisReader
from sendtide.stages.model_feed import ModelFeed

__all__ = ["program", "serve"]

program = new_program()

_Host = Annotated[str, typer.Option(help="Address to listen on; loopback unless there are keys.")]
_Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free port.")]
_Decisions = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Append each choice of a variant, as JSON.")
]
_Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="API keys; needed beyond loopback.")
]


@program.command()
def serve(
    redis: RedisUrl = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8080,
    keys: _Keys = None,
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    decisions: _Decisions = None,
) -> None:
    """Serve predictions (`/v2`, Open Inference Protocol), `/metrics` and the dashboard at `/`.

    It reads Redis and, for the models `subject` and `variant`, the topic ml.models: start as many
    as needed. Give it the workers' pipeline file: recipients of the control group, who get any hour
    of the window, must be the same ones, and a subject is called engaging from `threshold` of
    [subject] on. `sendtide endpoint` is the same.

    Example: `sendtide serve --redis redis://cache:6379/0 --host 0.0.0.0 --keys keys.toml` ·
    `sendtide serve --redis redis://cache:6379/0 --kafka broker:9092 --decisions chosen.jsonl`
    """
    reader, deployment, content = RedisReader(url_of(redis)), pipeline_of(pipeline), None
    feed = None
    if kafka:
        content = ContentDirectory()
        servers = servers_of(kafka, kafka_config)
        feed = ModelFeed(servers.client(), deployment.topics.full_name(MODELS), content)
        feed.start()
    log = endpoint.DecisionLog(decisions) if decisions else None
    options: dict[str, Any] = {"log": log} if log else {}
    options["subject_threshold"], hours = deployment.subject.threshold, deployment.send_time()
    group = endpoint.ControlGroup(share=hours.control_share, salt=hours.control_salt)
    inferrer = endpoint.Inferrer(reader, content=content, control=group, **options)
    application = endpoint.build(reader, {"/": Dashboard(reader)}, inferrer)
    shown = f"[{host}]" if ":" in host else host
    note(f"dashboard http://{shown}:{port}/  endpoint /v2  metrics /metrics")
    try:
        endpoint.serve(application, host, port, keys)
    finally:
        if feed is not None:
            feed.stop()
        if log is not None:
            log.close()
        reader.close()
