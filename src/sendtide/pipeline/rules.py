"""The rules file of `sendtide schedule`: what it may say, and its mistakes by line.

::

    relax = ["warm_up", "provider_rate", "spacing", "frequency_week", "frequency_day",
             "quiet_hours", "window"]
    max_delay = "24h"
    quiet_hours = ["21:00", "08:00"]
    per_day = 1
    per_week = 3
    spacing = "6h"
    control_share = 0.05    # of each client's recipients, at hours by chance; as in the pipeline
    control_salt = ""       # file, so that it is the same recipients
    [rates]                 # messages an hour; a provider without a rate has no limit
    gmail = 100000
    [warm_up]
    first_day = "2026-11-02"
    daily = [1000, 2000, 5000]
"""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from sendtide.events.errors import ConfigurationError
from sendtide.pipeline.lines import key_lines, line_of
from sendtide.pipeline.model import Between, Section

__all__ = ["Rules", "WarmUp", "load_rules"]

Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\z")]


class WarmUp(Section):
    """Totals of UTC days while sending addresses are new."""

    first_day: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\z")]
    daily: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=366)]

    def first_day_number(self) -> int:
        """Days since 1970.

        Raises:
            ConfigurationError: no such day.
        """
        try:
            return (date.fromisoformat(self.first_day) - date(1970, 1, 1)).days
        except ValueError as error:
            msg = f"warm_up.first_day {self.first_day!r} is no day: {error}"
            raise ConfigurationError(msg) from error


class Rules(Section):
    """All keys of the file; without it there are no rules but the windows."""

    relax: list[str] | None = None
    max_delay_ms: Annotated[int, Between("1h", "14d")] = 86_400_000
    quiet_hours: Annotated[list[Clock], Field(min_length=2, max_length=2)] | None = None
    per_day: Annotated[int, Field(ge=0, le=1_000)] | None = None
    per_week: Annotated[int, Field(ge=0, le=1_000)] | None = None
    spacing_ms: Annotated[int, Between("0s", "7d")] = 0
    rates: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    warm_up: WarmUp | None = None
    control_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    control_salt: Annotated[str, Field(max_length=64)] = ""


def load_rules(path: Path) -> Rules:
    """Read a rules file.

    Raises:
        ConfigurationError: unreadable, not TOML, or with mistakes, each as `file:line: key: why`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: cannot be read as TOML: {error}"
        raise ConfigurationError(msg) from error
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        lines = key_lines(text)
        found = sorted(
            (line_of(lines, tuple(detail["loc"])), ".".join(map(str, detail["loc"])), detail["msg"])
            for detail in error.errors(include_url=False)
        )
    allowed = ", ".join(field.alias or name for name, field in Rules.model_fields.items())
    mistakes = [f"{path}:{line}: {key}: {why}" for line, key, why in found]
    raise ConfigurationError("\n".join([*mistakes, f"keys of a rules file: {allowed}"]))
