"""Options that several commands share, and what their text means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from sendtide.events.errors import ConfigurationError
from sendtide.pipeline import Pipeline, load_pipeline
from sendtide.transport import KEEP_BROKERS

__all__ = ["JsonFile", "Kafka", "KafkaConfig", "KafkaServers", "PipelineFile", "RedisUrl"]
__all__ += ["DEMO_PIPELINE", "pipeline_of", "servers_of", "url_of"]

Kafka = Annotated[
    str | None,
    typer.Option(
        "--kafka",
        envvar="SENDTIDE_KAFKA",
        metavar="HOST:PORT,...",
        help="Kafka brokers to begin with.",
    ),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar="SENDTIDE_REDIS",
        metavar="URL",
        help="Redis or Valkey: redis://, rediss:// (TLS) or unix://, ACL user in the URL.",
    ),
]
KafkaConfig = Annotated[
    list[str] | None,
    typer.Option(
        "--kafka-config",
        metavar="KEY=VALUE|FILE",
        help="A client setting of librdkafka, or a file of them, one a line. Repeat it.",
    ),
]
PipelineFile = Annotated[
    Path | None,
    typer.Option("--pipeline", metavar="FILE", help="Pipeline file; without it the defaults."),
]
JsonFile = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help='Write the result as JSON; "-" is stdout.'),
]

DEMO_PIPELINE: Final = Path(__file__).with_name("demo.toml")
"""The pipeline of `sendtide up`: everything happens within seconds."""


@dataclass(frozen=True, slots=True)
class KafkaServers:
    """Brokers and client settings; the settings may hold secrets and are never printed."""

    brokers: str
    config: dict[str, str] = field(default_factory=dict, repr=False)

    def client(self) -> dict[str, str | int]:
        """Settings of one client. Only its critical log lines are printed: errors are raised."""
        return {"log_level": 2, **KEEP_BROKERS, **self.config, "bootstrap.servers": self.brokers}


def servers_of(kafka: str | None, settings: Iterable[str] | None = None) -> KafkaServers:
    """The brokers named by `--kafka` with the settings of `--kafka-config`.

    Raises:
        ConfigurationError: no brokers, or a setting that is none.
    """
    if not kafka:
        msg = "no Kafka given; say --kafka HOST:PORT or set SENDTIDE_KAFKA (`sendtide up` has one)"
        raise ConfigurationError(msg)
    return KafkaServers(kafka, settings_of(settings or ()))


def settings_of(arguments: Iterable[str]) -> dict[str, str]:
    """Client settings out of `KEY=VALUE` arguments and files of such lines; the last one counts.

    Raises:
        ConfigurationError: an argument is neither, or a file cannot be read.
    """
    settings: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals:
            settings[name.strip()] = value.strip()
        else:
            settings.update(_file_settings(Path(argument)))
    return settings


def _file_settings(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--kafka-config {path} is neither KEY=VALUE nor a readable file: {error}"
        raise ConfigurationError(msg) from error
    settings = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            msg = f"{path}:{number}: no setting; write KEY=VALUE, as sasl.mechanism=SCRAM-SHA-512"
            raise ConfigurationError(msg)
        settings[name.strip()] = value.strip()
    return settings


def url_of(redis: str | None) -> str:
    """The URL given by `--redis`.

    Raises:
        ConfigurationError: none is given.
    """
    if not redis:
        msg = "no Redis given; say --redis URL or set SENDTIDE_REDIS (`sendtide up` has one)"
        raise ConfigurationError(msg)
    return redis


def pipeline_of(path: Path | None) -> Pipeline:
    """The pipeline of a file, or the built-in defaults.

    Raises:
        ConfigurationError: the file has mistakes.
    """
    return Pipeline() if path is None else load_pipeline(path)
