"""What a pipeline file may say: every key, its type, its range and its default.

Fields whose name ends in `_ms` are durations; the file leaves that ending off and writes "30s".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import core_schema

from sendtide.events.topics import EXAMPLES, Topic
from sendtide.pipeline.duration import parse_duration

__all__ = ["Clients", "Drift", "InputTopic", "Join", "Model", "Outputs", "Pipeline"]
__all__ += [
    "PropensityModel",
    "Publish",
    "Redis",
    "RiverModel",
    "SendTimeModel",
    "Snapshots",
    "Topics",
    "Windows",
]

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z"
_TOPIC_PREFIX: Final = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?\z"
_CLASS: Final = r"[a-z_][a-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+"
_CLASSES: Final = rf"^{_CLASS}( \| {_CLASS}){{0,7}}\z"
_CLIENT_PARTITIONS: Final = 8
"""Of `ml.examples`, at most, where a file does not say."""
_LETTERS: Final = 'letters, digits, ".", "_", "-", starting with a letter or digit'
PATTERN_MEANINGS: Final = {
    _NAME: f"a name: 1 to 64 {_LETTERS}",
    _TOPIC_PREFIX: f"a prefix: empty, or up to 64 {_LETTERS}",
    _CLASSES: (
        'classes below "river": a classifier, as "tree.HoeffdingTreeClassifier", and before it '
        'transformers, as in "preprocessing.StandardScaler | linear_model.LogisticRegression"'
    ),
}
"""What each pattern means, for people."""

Name = Annotated[str, Field(pattern=_NAME)]


@dataclass(frozen=True)
class Between:
    """Annotation of a duration field: written as text, kept as milliseconds, in this range."""

    low: str
    high: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def read(self, text: object) -> int:
        """Milliseconds of `text`.

        Raises:
            ValueError: not a duration, or out of range.
        """
        value = parse_duration(text)
        if not parse_duration(self.low) <= value <= parse_duration(self.high):
            msg = f'"{text}" is out of range; allowed: "{self.low}" to "{self.high}"'
            raise ValueError(msg)
        return value


def key_of(field: str) -> str:
    """Key in the file of a field of the model."""
    return field.removesuffix("_ms")


class Section(BaseModel):
    """A table of the file: unknown keys refused, types taken as written, never changed later."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=key_of, allow_inf_nan=False
    )


class Topics(Section):
    """How topics are created; names are fixed but for the prefix."""

    prefix: Annotated[str, Field(pattern=_TOPIC_PREFIX)] = ""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    client_partitions: Annotated[int, Field(ge=1, le=1024)] | None = None
    replication: Annotated[int, Field(ge=-1, le=16)] = -1
    retention_ms: Annotated[int, Between("1m", "3650d")] = 7 * 86_400_000
    dead_letter_retention_ms: Annotated[int, Between("1m", "3650d")] = 30 * 86_400_000

    @model_validator(mode="after")
    def _replication_is_not_zero(self) -> Self:
        if self.replication == 0:
            msg = "replication is 0; allowed: -1 (the broker's default) or 1 to 16"
            raise ValueError(msg)
        return self

    def partitions_of(self, topic: Topic) -> int:
        """Number of partitions of a topic.

        Of `ml.examples` no more than it must have: every worker writes blocks for every one of it,
        and with many they would hold few rows each.
        """
        if topic is EXAMPLES:
            return self.client_partitions or min(self.partitions, _CLIENT_PARTITIONS)
        return self.partitions

    def full_name(self, topic: Topic) -> str:
        """Name of `topic` on the broker."""
        return self.prefix + topic.name


class InputTopic(Section):
    """How much disorder one input topic may show."""

    allowed_lateness_ms: Annotated[int, Between("0s", "30d")] = 3_600_000
    max_future_ms: Annotated[int, Between("0s", "1d")] = 300_000


class Join(Section):
    """How a send meets its engagements."""

    horizon_ms: Annotated[int, Between("1s", "30d")] = 3 * 86_400_000
    dedupe_window: Annotated[int, Field(ge=1_000, le=100_000_000)] = 4_000_000
    machine_within_ms: Annotated[int, Between("0s", "10m")] = 10_000


class Clients(Section):
    """Whose events teach models and are watched; those of others are counted and answered."""

    with_models: Literal["*"] | list[Name] = "*"


class SendTimeModel(Section):
    """Best hour of the week: prompt opens per send, recipients as part of their population."""

    kind: Literal["send_time"]
    name: Name
    prior_strength: Annotated[float, Field(gt=0, le=10_000)] = 8.0
    pool_clients: bool = False
    explore_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    control_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    control_salt: Annotated[str, Field(max_length=64)] = ""

    @property
    def shown_as(self) -> tuple[str, ...]:
        """Names under which its numbers are shown."""
        return (self.name,)


Target: TypeAlias = Literal["open", "click", "unsubscribe", "complaint", "bounce"]


class PropensityModel(Section):
    """What becomes of a message: one compiled bank, a calibrated probability for each target.

    learner: "kalman", dynamic logistic regression without a step to choose, or "sgd", River's
    logistic regression, whose step and penalty are `learning_rate` and `l2`. Each target is shown
    as `<target>-<name>`. kind "open_propensity": opens alone, as files of old say it.
    """

    kind: Literal["propensity", "open_propensity"]
    name: Name
    targets: list[Target] = Field(
        default_factory=lambda: list[Target](get_args(Target)), min_length=1
    )
    learner: Literal["kalman", "sgd"] = "kalman"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.05
    l2: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _opens_are_learned(self) -> Self:
        if "open" not in self.targets:
            msg = f'targets {self.targets} lack "open", which drift and challengers rest on; add it'
            raise ValueError(msg)
        return self

    @property
    def learned(self) -> tuple[str, ...]:
        """Targets learned."""
        return ("open",) if self.kind == "open_propensity" else tuple(self.targets)

    @property
    def shown_as(self) -> tuple[str, ...]:
        """Names under which its numbers are shown."""
        return tuple(f"{target}-{self.suffix}" for target in self.learned)

    @property
    def suffix(self) -> str:
        """What stands behind a target in the name it is shown under."""
        return self.name.removeprefix("open-") if self.kind == "open_propensity" else self.name


class RiverModel(Section):
    """Any River classifier of opens, a challenger: learns beside the built-in one, is compared.

    class_path: below `river`; params: of the last class. One Python object per client learns row
    by row, some thousand rows a second, so `clients` may name a few.
    """

    kind: Literal["river"]
    name: Name
    class_path: Annotated[str, Field(alias="class", pattern=_CLASSES)]
    params: dict[str, bool | int | float | str] = Field(default_factory=dict)
    clients: Literal["*"] | list[Name] = "*"
    promote: Literal["never", "advise"] = "advise"
    promote_after: Annotated[int, Field(ge=200, le=100_000_000)] = 2_000

    @property
    def shown_as(self) -> tuple[str, ...]:
        """Names under which its numbers are shown."""
        return (self.name,)


Model: TypeAlias = Annotated[
    SendTimeModel | PropensityModel | RiverModel, Field(discriminator="kind")
]


Detector: TypeAlias = Literal["psi", "adwin"]


class Windows(Section):
    """Tumbling event-time windows of the monitoring."""

    size_ms: Annotated[int, Between("1s", "1d")] = 60_000
    allowed_lateness_ms: Annotated[int, Between("0s", "1d")] = 30_000


class Drift(Section):
    """When a change of a distribution or of the loss is called drift."""

    detectors: list[Detector] = Field(default_factory=lambda: list[Detector](("psi", "adwin")))
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    psi_floor: Annotated[float, Field(ge=0, le=10)] = 0.1
    psi_critical: Annotated[float, Field(ge=0, le=10)] = 0.25
    dwell_windows: Annotated[int, Field(ge=1, le=1_000)] = 3
    minimum_count: Annotated[int, Field(ge=10, le=10_000_000)] = 200
    reference_rows: Annotated[int, Field(ge=100, le=100_000_000)] = 10_000
    adwin_delta: Annotated[float, Field(gt=0, lt=1)] = 0.002

    @model_validator(mode="after")
    def _critical_is_above_the_floor(self) -> Self:
        if self.psi_critical < self.psi_floor:
            msg = (
                f"psi_critical {self.psi_critical} is below psi_floor {self.psi_floor}; "
                "allowed: the floor or more"
            )
            raise ValueError(msg)
        return self


class Subject(Section):
    """What is asked of a subject line before it is sent."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.2


class Snapshots(Section):
    """Where a partition's state is kept for the next start; any fsspec URL."""

    url: Annotated[str, Field(min_length=1)] = ".sendtide/snapshots"
    interval_ms: Annotated[int, Between("1s", "1d")] = 30_000
    keep: Annotated[int, Field(ge=1, le=100)] = 3


class Redis(Section):
    """How results are kept in Redis."""

    ttl_ms: Annotated[int, Between("1m", "3650d")] = 35 * 86_400_000
    flush_interval_ms: Annotated[int, Between("10ms", "1m")] = 200


class Outputs(Section):
    """What readers of the output topics may rely on."""

    exactly_once: Literal["auto", "on", "off"] = "auto"
    commit_interval_ms: Annotated[int, Between("10ms", "10s")] = 100


class Publish(Section):
    """How often running results go out."""

    models_ms: Annotated[int, Between("100ms", "1h")] = 5_000
    metrics_ms: Annotated[int, Between("100ms", "1h")] = 1_000


def _default_models() -> list[Model]:
    return [
        SendTimeModel(name="send-time", kind="send_time"),
        PropensityModel(name="propensity", kind="propensity"),
    ]


class Pipeline(Section):
    """One deployment."""

    name: Name = "default"
    topics: Topics = Topics()
    sends: InputTopic = InputTopic()
    engagements: InputTopic = InputTopic.model_validate({"allowed_lateness": "6h"})
    requests: InputTopic = InputTopic()
    join: Join = Join()
    clients: Clients = Clients()
    models: Annotated[list[Model], Field(min_length=1, max_length=64)] = Field(
        default_factory=_default_models
    )
    windows: Windows = Windows()
    drift: Drift = Drift()
    subject: Subject = Subject()
    snapshots: Snapshots = Snapshots()
    redis: Redis = Redis()
    outputs: Outputs = Outputs()
    publish: Publish = Publish()

    def send_time(self) -> SendTimeModel:
        """The send-time model as written, or its defaults."""
        written = (model for model in self.models if isinstance(model, SendTimeModel))
        return next(written, SendTimeModel(name="send-time", kind="send_time"))

    @model_validator(mode="after")
    def _one_model_of_a_built_in_kind(self) -> Self:
        built_in = [model for model in self.models if not isinstance(model, RiverModel)]
        kinds = [type(model) for model in built_in]
        repeated = sorted({m.kind for m in built_in if kinds.count(type(m)) > 1})
        if repeated:
            msg = f"two models of kind {', '.join(repeated)}; allowed: one, and any number of river"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _model_names_differ(self) -> Self:
        names = [model.name for model in self.models]
        repeated = sorted({name for name in names if names.count(name) > 1})
        kept = sorted({"subject", "variant"} & set(names))
        if kept:
            msg = f"model name {kept[0]} is that of the model of {kept[0]}s; give another"
            raise ValueError(msg)
        if repeated:
            msg = f"model names must differ; used twice: {', '.join(repeated)}"
            raise ValueError(msg)
        return self
