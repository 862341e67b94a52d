"""The pipeline file: what one deployment does, as data.

Comes in: the path of a TOML file. Goes out: a `Pipeline`, frozen, with durations in milliseconds.
Invariant: what loads is valid throughout; what is not valid is reported whole, every mistake with
its file, line and what is allowed there, as one `ConfigurationError`.
Limit: it says what to do, not how to reach servers; addresses and secrets are command-line options.

`pipelines/default.toml` documents every key with its default.
"""

from sendtide.pipeline.duration import format_duration, parse_duration
from sendtide.pipeline.load import load_pipeline
from sendtide.pipeline.model import (
    Clients,
    Drift,
    InputTopic,
    Join,
    Model,
    Pipeline,
    PropensityModel,
    Publish,
    Redis,
    RiverModel,
    SendTimeModel,
    Snapshots,
    Topics,
    Windows,
)

__all__ = [
    "Clients",
    "Drift",
    "InputTopic",
    "Join",
    "Model",
    "Pipeline",
    "PropensityModel",
    "Publish",
    "Redis",
    "RiverModel",
    "SendTimeModel",
    "Snapshots",
    "Topics",
    "Windows",
    "format_duration",
    "load_pipeline",
    "parse_duration",
]
