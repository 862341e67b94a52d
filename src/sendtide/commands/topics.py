"""`sendtide topics`: create, list and verify the nine topics."""

from __future__ import annotations

from typing import Any

from sendtide.commands.deployment import check_reachable, create_missing, topic_specs
from sendtide.commands.options import (
    JsonFile,
    Kafka,
    KafkaConfig,
    PipelineFile,
    pipeline_of,
    servers_of,
)
from sendtide.commands.output import publish, table
from sendtide.commands.program import new_program
from sendtide.events.topics import TOPICS
from sendtide.transport import partition_counts, verify_topics

__all__ = ["program"]

program = new_program("Create, list and verify the nine topics.")


@program.command()
def create(
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    json: JsonFile = None,
) -> None:
    """Create what is missing and verify the rest. Doing it twice changes nothing.

    Example: `sendtide topics create --kafka kafka-1:9092 --pipeline pipelines/default.toml`
    """
    specs = topic_specs(pipeline_of(pipeline))
    created = create_missing(servers_of(kafka, kafka_config), specs)
    result = {"created": created, "existed": [s.name for s in specs if s.name not in created]}
    shown = f"{len(created)} topics created, {len(result['existed'])} were there and fit"
    publish(result, json, shown)


@program.command(name="list")
def list_topics(
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    json: JsonFile = None,
) -> None:
    """List the topics: what they carry, how they are keyed, how many partitions they have.

    Example: `sendtide topics list --json - | jq '.[].name'`
    """
    servers = servers_of(kafka, kafka_config)
    check_reachable(servers)
    wanted = topic_specs(pipeline_of(pipeline))
    found = partition_counts(servers.client(), [spec.name for spec in wanted])
    rows: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "about": topic.about,
            "key": topic.key,
            "cleanup": topic.cleanup,
            "partitions": found.get(spec.name),
            "wanted_partitions": spec.partitions,
        }
        for topic, spec in zip(TOPICS, wanted, strict=True)
    ]
    columns = ["name", "about", "key", "cleanup", "partitions", "wanted_partitions"]
    publish(rows, json, table("", columns, [list(row.values()) for row in rows]))


@program.command()
def verify(
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    json: JsonFile = None,
) -> None:
    """Check that every topic is there with the partitions the pipeline names; exit 2 if not.

    Example: `sendtide topics verify --pipeline pipelines/default.toml && sendtide worker`
    """
    servers = servers_of(kafka, kafka_config)
    check_reachable(servers)
    specs = topic_specs(pipeline_of(pipeline))
    verify_topics(servers.client(), specs)
    publish({"verified": [s.name for s in specs]}, json, f"{len(specs)} topics are as they must be")
