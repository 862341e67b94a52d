"""Random example rows, and blocks cut out of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sendtide.events.creative import creative_of
from sendtide.events.examples import (
    EXAMPLE_COLUMNS,
    PERIOD_BITS,
    PERIOD_MS,
    ExampleBlock,
    ExampleKind,
)
from sendtide.events.hashing import GROUPS
from sendtide.events.rhythm import BINS, EVIDENCE, FRESHNESS_STEPS

START_MS = 1_780_000_000_000
CREATIVES = np.concatenate(
    [
        creative_of(subject="Big sale today"),
        creative_of(subject="Your invoice 4711"),
        creative_of(subject="🎉 You are invited", variant="hero", campaign="may", augmented=True),
        creative_of(variant="plain", campaign="may", clickable_images=3, angle="front"),
        creative_of(variant="plain", campaign="june", clickable_images=3, angle="front"),
    ]
)


def words(counts: Any) -> Any:
    """(n, periods) counts, newest first, as the words of `events.examples`."""
    places = np.uint64(1) << np.arange(0, PERIOD_BITS * counts.shape[1], PERIOD_BITS, np.uint64)
    return (counts.astype(np.uint64) * places).sum(axis=1, dtype=np.uint64)


def example_rows(
    n: int, clients: int = 3, seed: int = 1, first: int = 0, per_row_ms: int = 100
) -> dict[str, Any]:
    """Return n rows whose opens depend on the history; send offsets are a shuffled range."""
    rng = np.random.default_rng(seed)
    sends = rng.integers(0, 40, n).astype(np.float32)
    opens = rng.binomial(sends.astype(int), 0.3).astype(np.float32)
    never = opens == 0
    chance = 1 / (1 + np.exp(-(-1.5 + 3.0 * opens / np.maximum(sends, 1))))
    sent = START_MS + np.arange(first, first + n) * per_row_ms - rng.integers(0, 5_000, n)
    opened = rng.random(n) < chance
    recent_sends = np.minimum(sends[:, None] // 12 + (np.arange(12) < sends[:, None] % 12), 7)
    recent_opens = np.minimum(opens[:, None] // 12 + (np.arange(12) < opens[:, None] % 12), 7)
    columns = {
        "origin": np.zeros(n),
        "client": rng.integers(0, clients, n),
        "segment": rng.integers(0, 3, n),
        "send_offset": first + rng.permutation(n),
        "sent_at_ms": sent,
        "time_ms": sent,
        "hour_of_week": rng.integers(0, 168, n),
        "sends": sends,
        "opens": opens,
        "clicks": np.minimum(opens, 2),
        "recent_sends": np.minimum(sends, 8),
        "recent_opens": np.minimum(opens, np.minimum(sends, 8)),
        "hours_since_send": np.where(sends > 0, rng.exponential(90, n), np.nan),
        "hours_since_open": np.where(never, np.nan, rng.exponential(200, n)),
        "period_sends": words(recent_sends),
        "period_opens": words(recent_opens),
        "period": sent // PERIOD_MS,
        "opened": opened,
        "clicked": opened & (rng.random(n) < 0.2),
        "converted": np.zeros(n),
        "machine_opened": np.zeros(n),
        "bounced": np.zeros(n),
        "unsubscribed": ~opened & (rng.random(n) < 0.01),
        "complained": ~opened & (rng.random(n) < 0.005),
        "creative": np.random.default_rng([seed, 2]).integers(0, len(CREATIVES) + 1, n),
        "arm": rng.choice(3, n, p=[0.7, 0.25, 0.05]),
        "provider": np.random.default_rng([seed, 3]).integers(0, 5, n),
        "group": rng.integers(0, GROUPS, n),
        "open_delay_s": np.where(opened, 60, -1),
    }
    rows = {name: columns[name].astype(dtype) for name, dtype in EXAMPLE_COLUMNS.items()}
    content = rng.normal([60, 400, 20, 6, 1], [20, 200, 8, 4, 1], (n, 5))
    rows["content"] = np.where(rng.random((n, 5)) < 0.05, np.nan, content).astype(np.float32)
    rows["evidence"] = np.zeros((n, EVIDENCE), np.uint16)
    rows["evidence"][:, :BINS] = rng.integers(0, 4 * FRESHNESS_STEPS, (n, BINS))
    rows["evidence"][:, BINS : 2 * BINS] = rng.integers(0, 2, (n, BINS))
    rows["evidence"][:, 2 * BINS] = rng.integers(12, 20, n)
    return rows


def block(
    rows: dict[str, Any], kind: ExampleKind, origin: int = 0, part: slice = slice(None)
) -> ExampleBlock:
    """Some of the rows as one block; its tables of names start anywhere but at the first row's."""
    cut = {name: column[part] for name, column in rows.items()}
    names = [f"client-{i}" for i in range(int(rows["client"].max()) + 1)]
    cut["origin"] = np.full_like(cut["origin"], origin)
    turned = len(cut["creative"]) % len(CREATIVES)
    places = (cut["creative"].astype(np.int64) - 1 - turned) % len(CREATIVES) + 1
    cut["creative"] = np.where(cut["creative"] == 0, 0, places).astype("<u4")
    return ExampleBlock(
        kind=kind,
        clients=names,
        segments=["", "new", "old"],
        columns=cut,
        creatives=np.roll(CREATIVES, -turned),
    )


def cut(
    rows: dict[str, Any], kind: ExampleKind, sizes: list[int], origin: int = 0
) -> Iterator[ExampleBlock]:
    """All rows in blocks of the given sizes, used in turn."""
    start, turn = 0, 0
    while start < len(rows["client"]):
        end = start + sizes[turn % len(sizes)]
        yield block(rows, kind, origin, slice(start, end))
        start, turn = end, turn + 1
