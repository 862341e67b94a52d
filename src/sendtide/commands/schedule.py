"""`sendtide schedule`: a file of requests in, a file of decisions out."""

from __future__ import annotations

import re
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray

from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.options import JsonFile, RedisUrl
from sendtide.commands.output import note, progress, publish
from sendtide.commands.program import new_program
from sendtide.events.errors import ConfigurationError
from sendtide.events.hashing import hash_text, in_control
from sendtide.events.records import HOURS_PER_WEEK, decode_scores
from sendtide.events.time import known_zones
from sendtide.pipeline.rules import Rules, load_rules
from sendtide.schedule import (
    RELAX_ORDER,
    Constraints,
    Requests,
    Schedule,
    Sent,
    solve,
    solve_beside_control,
)
from sendtide.schedule.comparison import Comparison, compare, random_case
from sendtide.schedule.problem import HOUR_MS, UNLIMITED, reason_names
from sendtide.sinks import RedisReader

__all__ = ["program", "schedule"]

program = new_program()

_NEEDED: Final = ("recipient_id", "window_start_ms", "window_end_ms")
_TEXTS: Final = ("id", "client_id", "recipient_id", "provider", "timezone")
_RECIPIENT: Final = re.compile("[0-9a-f]{32}")
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_FLAT_RATE: Final = 0.2
"""P(open) of a recipient nothing is known of: every hour alike."""
_LARGE: Final = 100_000
_GOAL_MEDIAN, _GOAL_WORST, _GOAL_FEWER = 0.01, 0.03, 0.1


@program.command()
def schedule(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Requests: .parquet, .csv, or JSON lines."),
    ] = None,
    rules: Annotated[Path | None, typer.Option(metavar="FILE", help="Rules, TOML.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Decisions: .parquet, .csv, JSON lines.")
    ] = None,
    sent: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What went out: recipient_id, sent_at_ms[, provider]."),
    ] = None,
    now: Annotated[int | None, typer.Option(metavar="MS", help="Nothing before; else now.")] = None,
    check: Annotated[
        int | None,
        typer.Option(min=1, metavar="CASES", help="No file: compare with exact optima instead."),
    ] = None,
    redis: RedisUrl = None,
    json: JsonFile = None,
) -> None:
    """Plan when each message goes out; every request gets a time, and a reason if a rule gave way.

    Columns: recipient_id, window_start_ms, window_end_ms; optional id, client_id, provider,
    timezone, value, scores (168 numbers; not in CSV). Without scores they are read from Redis,
    where it is given, else every hour counts alike. With client_id, the control group of each
    client (control_share of the rules, 5%) gets hours drawn among those that keep all rules.

    Example: `sendtide schedule requests.parquet --rules rules.toml --out decisions.parquet`
    """
    if check is not None:
        found, per_s = compare(check, 20, 12), _speed(_LARGE)
        told_of = {**asdict(found), "large": _LARGE, "requests_per_s": per_s}
        publish(told_of, json, _compared(found, per_s))
        close = found.gap_median <= _GOAL_MEDIAN and found.gap_worst <= _GOAL_WORST
        if not close or found.fewer_planned > _GOAL_FEWER * check:
            raise typer.Exit(CHECK_FAILED)
        return
    if file is None:
        msg = "no file of requests given; say `sendtide schedule FILE`, or --check 20"
        raise ConfigurationError(msg)
    table = _read(file, _NEEDED)
    told = load_rules(rules) if rules else Rules()
    with progress() as bar:
        task = bar.add_task("scores", total=3)
        curves = _curves(table, redis)
        bar.update(task, description="plan", advance=1)
        providers, codes = _providers(table, told)
        requests = _requests(table, codes, curves)
        now_ms = time.time_ns() // 1_000_000 if now is None else now
        constraints = _constraints(told, providers, now_ms)
        history = _sent(_read(sent, ("recipient_id", "sent_at_ms")), providers) if sent else None
        controlled, keys = _controlled(table, told), _keys(requests)
        started = time.perf_counter()
        parts = requests, constraints, history, controlled, keys
        planned, propensities = solve_beside_control(*parts)
        took_s = time.perf_counter() - started
        bar.update(task, description="write", advance=1)
        if out is not None:
            _write(_decisions(table, planned, controlled, propensities), out)
        bar.advance(task)
    result = _summary(planned, providers, len(requests) / max(took_s, 1e-9))
    result["control"] = int(controlled.sum())
    publish(result, json, _shown(result))


def _speed(n: int) -> float:
    """Requests a second of one large plan; compiled by the small cases before it."""
    requests, rules = random_case(0, n, n // 2)
    started = time.perf_counter()
    solve(requests, rules)
    return n / (time.perf_counter() - started)


def _compared(found: Comparison, per_s: float) -> str:
    return (
        f"{found.cases} cases against the exact optimum: as many planned in "
        f"{found.cases - found.fewer_planned}, worth less by {found.gap_median:.1%} (median), "
        f"{found.gap_p95:.1%} (p95), {found.gap_worst:.1%} (worst)\n"
        f"{_LARGE:,} requests under the same rules: {per_s:,.0f}/s"
    )


def _read(file: Path, needed: tuple[str, ...]) -> pl.DataFrame:
    try:
        if file.suffix == ".csv":  # "007" is a name, not the number 7
            table = pl.read_csv(file, schema_overrides=dict.fromkeys(_TEXTS, pl.String))
        elif file.suffix == ".parquet":
            table = pl.read_parquet(file)
        else:
            table = pl.read_ndjson(file)
        table = table.with_columns(pl.col(name).cast(pl.String) for name in _texts(table))
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"{file} cannot be read: {error}"
        raise ConfigurationError(msg) from error
    missing = [name for name in needed if name not in table.columns]
    empty = [name for name in needed if not missing and table[name].null_count()]
    if missing or empty:
        msg = f"{file}: columns missing: {missing}, with empty cells: {empty}; needed: {needed}"
        raise ConfigurationError(msg)
    return table


def _texts(table: pl.DataFrame) -> list[str]:
    return [name for name in _TEXTS if name in table.columns]


def _curves(table: pl.DataFrame, redis: str | None) -> NDArray[np.float32]:
    """(n, 168) P(open), from the file, from Redis, or flat."""
    n = len(table)
    if "scores" in table.columns:
        lengths = table["scores"].list.len()
        if not (lengths == HOURS_PER_WEEK).fill_null(value=False).all():
            seen = f"{lengths.min()!r} to {lengths.max()!r}"
            msg = f"scores have {seen} numbers; wanted {HOURS_PER_WEEK} in every row"
            raise ConfigurationError(msg)
        flat = table["scores"].explode().cast(pl.Float32).to_numpy()
        return flat.reshape(n, HOURS_PER_WEEK)
    curves = np.full((n, HOURS_PER_WEEK), _FLAT_RATE, np.float32)
    if redis is None:
        note("no scores and no --redis: every hour counts alike")
        return curves
    if "client_id" not in table.columns:
        msg = "scores from Redis are kept by client; the file needs a column client_id"
        raise ConfigurationError(msg)
    with closing(RedisReader(redis)) as reader:
        records = reader.records(table["client_id"].to_list(), table["recipient_id"].to_list())
    known = records["layout"] != 0
    curves[known] = decode_scores(records[known])
    note(f"{int(known.sum()):,} of {n:,} recipients are known")
    return curves


def _providers(table: pl.DataFrame, told: Rules) -> tuple[list[str], NDArray[np.int32]]:
    """Names of all providers, and each request's place among them."""
    named = table["provider"].fill_null("") if "provider" in table.columns else pl.Series([""])
    names = sorted({*named.unique().to_list(), *told.rates})
    place = {name: k for k, name in enumerate(names)}
    if "provider" not in table.columns:
        return names, np.full(len(table), place[""], np.int32)
    return names, np.array([place[name] for name in named.to_list()], np.int32)


def _codes(texts: list[str]) -> NDArray[np.uint64]:
    known = {text: hash_text(text) if text else 0 for text in set(texts)}
    return np.array([known[text] for text in texts], np.uint64)


def _requests(
    table: pl.DataFrame, provider: NDArray[np.int32], curves: NDArray[np.float32]
) -> Requests:
    n, names = len(table), table.columns
    zone = np.zeros(n, np.uint64)
    if "timezone" in names:
        zone = _codes(table["timezone"].fill_null("").to_list())
        wrong = [code for code in np.unique(zone).tolist() if code and code not in known_zones()]
        if wrong:
            row = int(np.argmax(zone == wrong[0]))
            msg = f"request {row}: timezone {table['timezone'][row]!r} is no IANA time zone"
            raise ConfigurationError(msg)
    value = (
        table["value"].fill_null(1.0) if "value" in names else pl.Series([1.0]).new_from_index(0, n)
    )
    return Requests(
        recipient=_codes(table["recipient_id"].to_list()),
        provider=provider,
        zone=zone,
        window_start_ms=table["window_start_ms"].cast(pl.Int64).to_numpy(),
        window_end_ms=table["window_end_ms"].cast(pl.Int64).to_numpy(),
        value=value.cast(pl.Float64).to_numpy(),
        curve=np.arange(n, dtype=np.int32),
        curves=curves,
    )


def _controlled(table: pl.DataFrame, told: Rules) -> NDArray[np.bool_]:
    """(n,) of the control group: recipients of a client, by the same hash as everywhere."""
    if "client_id" not in table.columns or not told.control_share:
        return np.zeros(len(table), np.bool_)
    texts = table["recipient_id"].to_list()
    named = np.array([_RECIPIENT.fullmatch(text) is not None for text in texts], np.bool_)
    digits = [text if ok else "0" * 32 for text, ok in zip(texts, named.tolist(), strict=True)]
    ids = np.array([(int(t[:16], 16), int(t[16:], 16)) for t in digits], np.uint64).reshape(-1, 2)
    clients = _codes(table["client_id"].fill_null("").to_list())
    drawn = in_control(clients, ids, told.control_salt, told.control_share)
    return np.asarray(named & (clients != 0) & drawn)


def _keys(requests: Requests) -> NDArray[np.uint64]:
    """A hash of each request: asked again, it draws the same hour."""
    return requests.recipient ^ (requests.window_start_ms.astype(np.uint64) * _ODD)


def _sent(table: pl.DataFrame, providers: list[str]) -> Sent:
    place = {name: k for k, name in enumerate(providers)}
    named = table["provider"].to_list() if "provider" in table.columns else [None] * len(table)
    return Sent(
        recipient=_codes(table["recipient_id"].to_list()),
        sent_at_ms=table["sent_at_ms"].cast(pl.Int64).to_numpy(),
        provider=np.array([place.get(name or "", -1) for name in named], np.int32),
    )


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _constraints(told: Rules, providers: list[str], now_ms: int) -> Constraints:
    quiet = told.quiet_hours or ["00:00", "00:00"]
    return Constraints(
        not_before_ms=now_ms,
        quiet=(_minute(quiet[0]), _minute(quiet[1])),
        per_day=UNLIMITED if told.per_day is None else told.per_day,
        per_week=UNLIMITED if told.per_week is None else told.per_week,
        spacing_ms=told.spacing_ms,
        rates=np.array([told.rates.get(name, UNLIMITED) for name in providers], np.int64),
        warm_up_day=told.warm_up.first_day_number() if told.warm_up else 0,
        warm_up=tuple(told.warm_up.daily) if told.warm_up else (),
        relax=RELAX_ORDER if told.relax is None else tuple(told.relax),
        max_delay_ms=told.max_delay_ms,
    )


def _decisions(
    table: pl.DataFrame,
    planned: Schedule,
    controlled: NDArray[np.bool_],
    propensities: NDArray[np.float64],
) -> pl.DataFrame:
    named = {int(mask): reason_names(int(mask)) for mask in np.unique(planned.relaxed)}
    kept = [name for name in ("id", "client_id", "recipient_id") if name in table.columns]
    return table.select(kept).with_columns(
        send_at_ms=pl.Series(planned.send_at_ms),
        open_probability=pl.Series(planned.open_probability),
        relaxed=pl.Series([named[mask] for mask in planned.relaxed.tolist()], dtype=pl.String),
        arm=pl.Series(np.where(controlled, "control", "optimised"), dtype=pl.String),
        propensity=pl.Series(propensities).fill_nan(None),
    )


def _write(decisions: pl.DataFrame, out: Path) -> None:
    writers: dict[str, Any] = {".parquet": decisions.write_parquet, ".csv": decisions.write_csv}
    try:
        writers.get(out.suffix, decisions.write_ndjson)(out)
    except OSError as error:
        msg = f"--out {out} cannot be written: {error}"
        raise ConfigurationError(msg) from error


def _summary(planned: Schedule, providers: list[str], per_s: float) -> dict[str, Any]:
    masks, counts = np.unique(planned.relaxed[planned.relaxed > 0], return_counts=True)
    pairs = zip(masks.tolist(), counts.tolist(), strict=True)
    prices = [
        {
            "provider": providers[p],
            "hour_ms": planned.first_ms + int(slot) * HOUR_MS,
            "price": float(planned.prices[p, slot]),
        }
        for p, slot in np.argwhere(planned.prices > 0)
    ]
    return {
        "requests": len(planned.send_at_ms),
        "relaxed": {reason_names(mask): count for mask, count in pairs},
        "expected_opens": planned.expected_opens,
        "expected_value": planned.expected_value,
        "requests_per_s": per_s,
        "prices": prices,
    }


def _shown(result: dict[str, Any]) -> str:
    first = (
        f"{result['requests']:,} planned, {result['expected_opens']:,.1f} opens expected, "
        f"{result['requests_per_s']:,.0f} requests/s"
    )
    lines = [first]
    if result["control"]:
        lines.append(f"{result['control']:,} of the control group, at hours drawn by chance")
    lines += [f"{count:,} gave way: {name}" for name, count in result["relaxed"].items()]
    top = sorted(result["prices"], key=lambda row: -row["price"])[:5]
    lines += [
        f"{row['provider'] or 'any provider'}, hour {row['hour_ms']}: one more message is worth "
        f"{row['price']:.3g}"
        for row in top
    ]
    return "\n".join(lines)
