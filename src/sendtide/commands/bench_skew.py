"""One client with most of the mail: what it does to the freshness of all others.

Two runs at the same rate: mail spread over the clients as in life, then most of it one client's.
The probes of `bench_freshness` belong to a client of their own, so they see what others see.
"""

from __future__ import annotations

from typing import Any

from sendtide.commands import bench_freshness
from sendtide.commands.options import KafkaServers
from sendtide.commands.output import note

__all__ = ["measure"]


def measure(
    plan: bench_freshness.Plan, hot_share: float, kafka: KafkaServers | None, redis: str | None
) -> dict[str, Any]:
    """`freshness_ratio`: p99 of the others with the hot client, over p99 without."""
    found = {}
    for name, share in (("even", 0.0), ("hot", hot_share)):
        found[name] = bench_freshness.measure(
            bench_freshness.Plan(plan.load, plan.duration_s, plan.partitions, plan.data, share),
            kafka,
            redis,
        )
        note(f"{name:<5} prediction p99 {found[name]['prediction_p99_s']:.2f} s")
    return {
        "freshness_ratio": found["hot"]["prediction_p99_s"] / found["even"]["prediction_p99_s"],
        "hot_share": hot_share,
        "load_events_per_s": plan.load,
        "even": found["even"],
        "hot": found["hot"],
    }
