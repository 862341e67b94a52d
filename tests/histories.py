"""Logs of sends as others keep them, written with what is true of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_704_067_200_000
"""2024-01-01, a Monday."""


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Write by the path's ending."""
    (frame.write_parquet if path.suffix == ".parquet" else frame.write_csv)(path)
    return path


def sends(seed: int, people: int, days: int, hours, chance, *, share: float = 1.0):
    """Columns of one send a person and day, or of a share of them, in no order.

    hours: (rng, n) -> hour of the day. chance: (person, hour) -> P(open). An open comes within
    minutes, one in four is clicked.
    """
    rng = np.random.default_rng(seed)
    person, day = (part.ravel() for part in np.meshgrid(np.arange(people), np.arange(days)))
    kept = rng.random(len(person)) < share
    person, day = person[kept], day[kept]
    hour = hours(rng, len(person))
    sent = (
        START_MS + day * DAY_MS + hour * HOUR_MS + rng.integers(0, HOUR_MS // 1000, len(day)) * 1000
    )
    opened = rng.random(len(person)) < chance(person, hour)
    clicked = opened & (rng.random(len(person)) < 0.25)
    delay = rng.integers(60, 5_000, len(person)) * 1000
    order = rng.permutation(len(person))
    columns = {
        "person": person,
        "hour": hour,
        "sent": sent,
        "opened": opened,
        "opened_at": np.where(opened, sent + delay, -1),
        "clicked": clicked,
        "clicked_at": np.where(clicked, sent + delay + 30_000, -1),
    }
    return {name: column[order] for name, column in columns.items()}


def times(column, form="%Y-%m-%d %H:%M:%S"):
    """Milliseconds as text, null where negative."""
    at = pl.Series(np.where(column < 0, 0, column)).cast(pl.Datetime("ms")).dt.strftime(form)
    return at.set(pl.Series(column < 0), None)


def rees46(log) -> pl.DataFrame:
    """The columns of REES46's messages.csv, its other channels among them."""
    n = len(log["sent"])
    letters = {name: np.where(log[name], "t", "f") for name in ("opened", "clicked")}
    no, never = ["f"] * n, pl.Series([None] * n, dtype=pl.String)
    bounced = np.arange(n) % 97 == 5
    return pl.DataFrame(
        {
            "id": np.arange(n) + 1,
            "message_id": [f"m-{i}" for i in range(n)],
            "campaign_id": np.arange(n) % 7,
            "message_type": ["bulk"] * n,
            "client_id": 1_515_915_625_000_000_000 + log["person"],
            "channel": np.where(np.arange(n) % 11 == 3, "mobile_push", "email"),
            "category": never,
            "platform": never,
            "email_provider": ["mail.ru"] * n,
            "stream": ["desktop"] * n,
            "date": times(log["sent"], "%Y-%m-%d"),
            "sent_at": times(log["sent"]),
            "is_opened": np.where(bounced, "f", letters["opened"]),
            "opened_first_time_at": times(np.where(bounced, -1, log["opened_at"])),
            "opened_last_time_at": times(np.where(bounced, -1, log["opened_at"])),
            "is_clicked": np.where(bounced, "f", letters["clicked"]),
            "clicked_first_time_at": times(np.where(bounced, -1, log["clicked_at"])),
            "clicked_last_time_at": times(np.where(bounced, -1, log["clicked_at"])),
            "is_unsubscribed": no,
            "unsubscribed_at": never,
            "is_hard_bounced": np.where(bounced, "t", "f"),
            "hard_bounced_at": never,
            "is_soft_bounced": no,
            "soft_bounced_at": never,
            "is_complained": no,
            "complained_at": never,
            "is_blocked": no,
            "blocked_at": never,
            "is_purchased": np.where(bounced, "f", letters["clicked"]),
            "purchased_at": times(
                np.where(bounced, -1, log["clicked_at"] + 60_000 * log["clicked"])
            ),
            "created_at": times(log["sent"]),
            "updated_at": times(log["sent"]),
        }
    )


def hackerrank(log) -> pl.DataFrame:
    """The columns of HackerRank's training_dataset.csv that are about mail, and some others."""
    n = len(log["sent"])
    seconds = {
        name: pl.Series(log[name] // 1000).set(pl.Series(log[name] < 0), None)
        for name in ("opened_at", "clicked_at")
    }
    words = {name: np.where(log[name], "true", "false") for name in ("opened", "clicked")}
    return pl.DataFrame(
        {
            "user_id": [f"user_{p}" for p in log["person"].tolist()],
            "mail_id": [f"mail_{i % 50}" for i in range(n)],
            "mail_category": ["mail_category_1"] * n,
            "mail_type": ["mail_type_1"] * n,
            "sent_time": log["sent"] // 1000,
            "open_time": seconds["opened_at"],
            "click_time": seconds["clicked_at"],
            "unsubscribe_time": pl.Series([None] * n, dtype=pl.Int64),
            "last_online": log["sent"] // 1000 - 1_000,
            "hacker_created_at": log["sent"] // 1000 - 10_000_000,
            "hacker_timezone": np.where(log["person"] % 2 == 0, 19_800, -25_200),
            "clicked": words["clicked"],
            "contest_login_count": np.zeros(n, np.int64),
            "hacker_confirmation": ["true"] * n,
            "opened": words["opened"],
            "unsubscribed": ["false"] * n,
        }
    )
