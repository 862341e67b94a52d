"""Freshness as messages: one of each number, the busiest sources first, ids that repeat."""

from sendtide.sinks import SourceFreshness
from sendtide.stages.freshness import SOURCES_PER_WINDOW, freshness_metrics

START_MS, END_MS = 1_790_000_000_000, 1_790_000_060_000


def _row(number, lag=0.25):
    return SourceFreshness(
        client_id=f"c{number}",
        source="ses",
        partition=3,
        newest_event_ms=END_MS - 1_500,
        as_of_ms=END_MS,
        lag_p50_s=lag,
        lag_p95_s=lag,
        lag_p99_s=lag,
    )


def test_a_source_has_four_numbers_of_its_window():
    """Age in seconds and three quantiles, with the partition they are of."""
    made = freshness_metrics([_row(1)], [7], START_MS, END_MS)
    assert {m.metric: m.value for m in made} == {
        "freshness-s": 1.5,
        "lag-p50-s": 0.25,
        "lag-p95-s": 0.25,
        "lag-p99-s": 0.25,
    }
    assert {(m.client_id, m.feature, m.partition, m.n_current) for m in made} == {
        ("c1", "ses", 3, 7)
    }
    assert made == freshness_metrics([_row(1)], [7], START_MS, END_MS)
    assert len({m.id for m in made}) == 4


def test_the_busiest_sources_come_first_and_no_more_than_the_limit():
    """A partition of 100,000 clients must not send half a million messages a minute."""
    count = SOURCES_PER_WINDOW + 10
    made = freshness_metrics([_row(n) for n in range(count)], list(range(count)), START_MS, END_MS)
    assert len(made) == 4 * SOURCES_PER_WINDOW
    assert made[0].client_id == f"c{count - 1}"
    assert "c9" not in {m.client_id for m in made}
