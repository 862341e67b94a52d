"""The endpoint's own Prometheus metrics: requests by status, their duration, rows by model.

No label carries a client or a recipient: the number of series is fixed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["Meters", "Outcome"]

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


@dataclass(slots=True)
class Outcome:
    """How a request ended."""

    status: int = 200


class Meters:
    """Counts requests into one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._requests = Counter(
            "sendtide_endpoint_requests_total",
            "Requests by status",
            ["status"],
            registry=self.registry,
        )
        self._rows = Counter(
            "sendtide_endpoint_rows_total",
            "Rows answered by model",
            ["model"],
            registry=self.registry,
        )
        self._duration_s = Histogram(
            "sendtide_endpoint_request_seconds",
            "Time from headers to answer",
            buckets=_BUCKETS_S,
            registry=self.registry,
        )

    @contextmanager
    def request(self) -> Iterator[Outcome]:
        """Time one request; set the outcome's status if it is not 200."""
        outcome, started_s = Outcome(), time.perf_counter()
        try:
            yield outcome
        finally:
            self._duration_s.observe(time.perf_counter() - started_s)
            self._requests.labels(str(outcome.status)).inc()

    def rows(self, model: str, count: int) -> None:
        """Count answered rows."""
        self._rows.labels(model).inc(count)
