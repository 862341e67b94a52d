"""The live view of `sendtide up`: one screen, redrawn once a second."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sendtide.commands.output import note, notes_console, table
from sendtide.commands.readings import BUCKETS, Reading
from sendtide.sinks import ModelMetrics

__all__ = ["DAYS", "HOURS", "LiveView", "hour_name"]

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS: Final = 24
_CHANGES_KEPT: Final = 5
_MODELS_SHOWN: Final = 10
_PLAIN_EVERY_S: Final = 10.0


def hour_name(hour_of_week: int | None) -> str:
    """`Tue 09:00`, a dash for None."""
    if hour_of_week is None:
        return "-"
    day, hour = divmod(hour_of_week, HOURS)
    return f"{DAYS[day]} {hour:02d}:00"


class LiveView:
    """Draws readings on a terminal; elsewhere one plain line every ten seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._console = notes_console()
        self._live: Live | None = None
        self._best: dict[str, int] = {}
        self._changes: list[str] = []
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, reading: Reading) -> None:
        """Draw it."""
        self._note_changes(reading.models)
        if self._live is not None:
            self._live.update(self.drawn(reading), refresh=True)
        elif time.monotonic() - self._said_at >= _PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            note(speeds(reading))

    def drawn(self, reading: Reading) -> Group:
        """The screen for a reading."""
        counts = "  ".join(f"{name} {reading.events[name]:,}" for name in BUCKETS)
        changes = [Text(f"best hour  {line}") for line in self._changes]
        return Group(
            Text(f"{self._url}/   Ctrl-C stops everything", style="dim"),
            Text(speeds(reading), style="bold"),
            Text(counts),
            _drifts(reading.models),
            *changes,
        )

    def _note_changes(self, models: list[ModelMetrics]) -> None:
        for row in models:
            own = row.summary
            if own.best_hour is None:
                continue
            before = self._best.get(own.client_id)
            self._best[own.client_id] = own.best_hour
            if before is not None and before != own.best_hour:
                line = f"{own.client_id}: {hour_name(before)} -> {hour_name(own.best_hour)}"
                self._changes = [*self._changes, line][-_CHANGES_KEPT:]


def speeds(reading: Reading) -> str:
    """One line of the numbers that move."""
    return (
        f"{reading.events_per_s:,.0f} events/s  {reading.predictions_per_s:,.0f} predictions/s  "
        f"freshness p50 {_seconds(reading.freshness_p50_s)} p99 "
        f"{_seconds(reading.freshness_p99_s)}  workers {reading.workers}  "
        f"predictions {reading.predictions:,}  windows {reading.windows:,}"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _drifts(models: list[ModelMetrics]) -> Table:
    """The models with the largest drift."""
    ranked = sorted(models, key=lambda row: row.summary.drift or 0.0, reverse=True)
    rows = [
        [own.client_id, own.model, own.drift, own.drift_feature, own.drift_state, own.log_loss,
         own.learned, hour_name(own.best_hour)]
        for own in (row.summary for row in ranked[:_MODELS_SHOWN])
    ]  # fmt: skip
    columns = ["client", "model", "drift", "feature", "state", "log loss", "learned", "best hour"]
    return table("", columns, rows)
