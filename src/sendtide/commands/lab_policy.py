"""`sendtide lab policy`: what another policy would have brought, from logged decisions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Group
from rich.text import Text

from sendtide import lab
from sendtide.commands.options import JsonFile
from sendtide.commands.output import note, publish, table
from sendtide.connectors.tables import Table, read_table
from sendtide.events.errors import ConfigurationError

__all__ = ["policy"]

_ACTIONS: Final = ("slot", "action", "hour", "arm")
_REWARDS: Final = ("reward", "opened", "clicked", "outcome")
_PROPENSITIES: Final = ("propensity", "pscore", "logging_propensity")
_RECIPIENTS: Final = ("recipient", "recipient_id", "user", "user_id")
_CLIENTS: Final = ("client", "client_id")
_TARGETS: Final = ("target_probability", "target_propensity", "target")
_CHOICES: Final = ("target_action", "target_slot")
_NAMED: Final = ("best", "uniform")
_LEVELS: Final = 50
"""A context of text with more distinct values is no group but an identity."""


def policy(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, Parquet or JSON lines: a row a decision.")
    ],
    action: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Action taken; else slot, action, hour, arm."),
    ] = None,
    propensity: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Probability of it; else propensity, pscore."),
    ] = None,
    reward: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Else reward, opened, clicked, outcome.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Whose decisions belong together.")
    ] = None,
    client: Annotated[str | None, typer.Option(metavar="COLUMN")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="best|uniform|COLUMN",
            help="Policy to judge: a name, or the column with its probability of the action taken.",
        ),
    ] = None,
    target_action: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The action the target would have taken.")
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="What the reward model may use. Repeat it."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Deals recipients to folds.")] = 1,
    json: JsonFile = None,
) -> None:
    """Estimate what a target policy would have brought, without sending anything.

    Every row is a decision that was taken at random with a known probability. The recommended
    estimate is `dr` (doubly robust, reward model cross-fitted), with `ips`, `snips` and `switch_dr`
    beside it. Its 95% interval takes a recipient's decisions as dependent. Where the log says too
    little of the target, all estimates are null and `reason` says what to log.

    `best` takes the action that a model of the other folds predicts highest; without --target a
    column target_probability or target_action counts, else `best`.

    Example: `sendtide lab policy decisions.csv --reward clicked --target uniform --json -`
    """
    rows = read_table(file)
    decisions, names = _decisions(rows, (action, propensity, reward, recipient, client), context)
    told, judged = _target(rows, target, target_action, names)
    if len(np.unique(decisions.cluster)) < 2:
        msg = f"{file} has decisions of one recipient only; an interval needs two or more"
        raise ConfigurationError(msg)
    value = lab.evaluate(decisions, judged, seed)
    result = _result(value, told, len(rows), len(names))
    if result["refused"]:
        note(f"refused: {result['reason']}")
    publish(result, json, _shown(result))


def _named(rows: Table, given: str | None, usual: tuple[str, ...], option: str) -> str:
    """The column given, or the first usual one there is."""
    found = given or rows.first_of(usual)
    if found is None:
        there = ", ".join(rows.frame.columns)
        msg = (
            f"{rows.path} has no column {' or '.join(usual)}; its columns: {there}; "
            f"say {option} COLUMN"
        )
        raise ConfigurationError(msg)
    return found


def _decisions(
    rows: Table, given: tuple[str | None, ...], context: list[str] | None
) -> tuple[lab.Decisions, list[str]]:
    """The log, and the names of its actions.

    Raises:
        ConfigurationError: a column is missing, or a value is none.
    """
    action, propensity, reward, recipient, client = given
    name = _named(rows, propensity, _PROPENSITIES, "--propensity")
    chances = rows.numbers(
        name,
        "--propensity",
        wanted="the probability of the action taken, above 0 and at most 1: without it no weight "
        "is known. Log it with the decision, never estimate it afterwards",
        above=0,
        high=1,
    )
    names, codes = rows.codes(_named(rows, action, _ACTIONS, "--action"), "--action")
    rewards = rows.numbers(_named(rows, reward, _REWARDS, "--reward"), "--reward")
    whose = recipient or rows.first_of(_RECIPIENTS)
    cluster = rows.codes(whose, "--recipient")[1] if whose else np.arange(len(rows))
    of_client = client or rows.first_of(_CLIENTS)
    return lab.Decisions(
        action=codes,
        actions=len(names),
        propensity=chances,
        reward=rewards,
        cluster=cluster,
        context=_context(rows, [*(context or ()), *([of_client] if of_client else ())], context),
    ), names


def _context(rows: Table, columns: list[str], asked: list[str] | None) -> NDArray[np.float64]:
    """(n, d): numbers as they are, text as one column a value."""
    parts: list[NDArray[np.float64]] = [np.zeros((len(rows), 0))]
    for column in columns:
        rows.column(column, "--context")
        if column in (asked or ()) and rows.numeric(column):
            parts.append(rows.numbers(column, "--context")[:, None])
            continue
        values, codes = rows.codes(column, "--context")
        if len(values) <= _LEVELS:
            parts.append(np.eye(len(values))[codes][:, 1:])
        elif column in (asked or ()):
            msg = (
                f"--context {column} has {len(values):,} values, {_LEVELS} at most; give a number, "
                "or a column of groups"
            )
            raise ConfigurationError(msg)
    return np.column_stack(parts)


def _target(
    rows: Table, target: str | None, target_action: str | None, names: list[str]
) -> tuple[str, str | NDArray[np.float64] | NDArray[np.int64]]:
    """What is judged, for people and for the estimators.

    Raises:
        ConfigurationError: two targets, or a column that is none.
    """
    if target and target_action:
        msg = f"--target {target} and --target-action {target_action} are two targets; give one"
        raise ConfigurationError(msg)
    chosen = target_action or (None if target else rows.first_of(_CHOICES))
    probability = target or (None if chosen else rows.first_of(_TARGETS))
    if chosen:
        wanted, codes = rows.codes(chosen, "--target-action")
        known = {name: code for code, name in enumerate(names)}
        return chosen, np.array([known.get(name, -1) for name in wanted], np.int64)[codes]
    if probability is None or (probability in _NAMED and not rows.has(probability)):
        return probability or "best", probability or "best"
    wanted_value = "the target's probability of the action taken, from 0 to 1"
    return probability, rows.numbers(probability, "--target", wanted=wanted_value, low=0, high=1)


def _result(value: lab.PolicyValue, target: str, rows: int, actions: int) -> dict[str, Any]:
    reason = lab.refusal(value.overlap)
    fields = asdict(value)
    shown = {name: None if reason else found for name, found in fields.items()}
    return {
        "estimates": {name: shown[name] for name in ("ips", "snips", "dr", "switch_dr")},
        "recommended": "dr",
        "interval": shown["interval"],
        "logged": value.logged,
        "lift": shown["lift"],
        "lift_interval": shown["lift_interval"],
        "effective_sample_size": value.overlap.effective,
        "largest_row_share": value.overlap.row_share,
        "mean_weight": value.overlap.mean_weight,
        "switch_threshold": value.switch_threshold,
        "refused": reason is not None,
        "reason": reason,
        "target": target,
        "rows": rows,
        "actions": actions,
        "clusters": value.clusters,
    }


def _shown(result: dict[str, Any]) -> Group:
    size = (
        f"effective sample size {result['effective_sample_size']:,.1f} of {result['rows']:,} rows"
    )
    lines = [f"{size}, {result['clusters']:,} clusters", f"logged reward {result['logged']:.4g}"]
    if result["refused"]:
        return Group(Text("\n".join([f"no estimate: {result['reason']}", *lines])))
    (low, high), (least, most) = result["interval"], result["lift_interval"]
    lines.append(f"95% interval of dr {low:.4g} to {high:.4g}")
    lines.append(f"lift over the log {result['lift']:+.4g}, {least:+.4g} to {most:+.4g}")
    rows = list(result["estimates"].items())
    return Group(
        table(f"target {result['target']}", ("estimator", "reward"), rows), Text("\n".join(lines))
    )
