"""`sendtide lab uplift`: what randomised arms brought over a control."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Group
from rich.text import Text

from sendtide import lab
from sendtide.commands.options import JsonFile
from sendtide.commands.output import publish, table
from sendtide.connectors.tables import Table, read_table
from sendtide.events.errors import ConfigurationError

__all__ = ["uplift"]

_CONTROLS: Final = frozenset(
    {
        *("control", "control group", "holdout", "hold-out", "placebo", "baseline"),
        *("no e-mail", "no email", "no mail", "none", "nothing", "untreated", "0", "false"),
    }
)
"""Names of arms in which nothing was done, in lower case."""


def uplift(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, Parquet or JSON lines: a row a recipient.")
    ],
    treatment: Annotated[str, typer.Option(metavar="COLUMN", help="The arm drawn for each row.")],
    outcome: Annotated[str, typer.Option(metavar="COLUMN", help="A number, or true and false.")],
    control: Annotated[
        str | None, typer.Option(metavar="ARM", help="Else the arm named control, No E-Mail, ...")
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Known before the treatment; narrows. Repeat it."),
    ] = None,
    revenue: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Money a row brought, for the return.")
    ] = None,
    value: Annotated[
        float | None, typer.Option(help="Money a unit of the outcome is worth, in its place.")
    ] = None,
    cost: Annotated[float | None, typer.Option(help="Money a treated row costs.")] = None,
    json: JsonFile = None,
) -> None:
    """Compare randomised arms with a control: lift, relative lift, intervals, return on cost.

    The 95% intervals hold for all arms at once (Dunnett), the p-values likewise. Arms must have
    been drawn at random, one row a recipient. With --covariate means are adjusted (Lin 2013).
    `roi` is (revenue over the control's - cost) / cost of a treated row: it needs --cost, and
    --revenue or --value.

    Example: `sendtide lab uplift trial.csv --treatment segment --outcome visit --value 2 --cost .1`
    """
    rows = read_table(file)
    names, arm = rows.codes(treatment, "--treatment")
    base = _control(names, control)
    values = rows.numbers(outcome, "--outcome")
    covariates = [rows.numbers(name, "--covariate") for name in covariate or ()]
    _enough(file, names, arm, len(covariates))
    if not np.ptp(values):
        msg = f"column {outcome!r} of {file} is {values[0]:g} in every row; there is no difference"
        raise ConfigurationError(msg)
    x = np.column_stack(covariates) if covariates else None
    money = _money(rows, values, revenue, value, cost)
    effects = lab.uplift(arm, values, base, x, money)
    result = {
        "rows": len(rows),
        "treatment": treatment,
        "outcome": outcome,
        "control": names[base],
        "covariates": list(covariate or ()),
        "adjusted_for_arms": len(names) - 1,
        "arms": {names[code]: asdict(effects[code]) for code in range(len(names))},
    }
    publish(result, json, _shown(result))


def _control(names: list[str], given: str | None) -> int:
    """Code of the control.

    Raises:
        ConfigurationError: one arm only, no such arm, or none or several that look like it.
    """
    listed = ", ".join(map(repr, names))
    if len(names) < 2:
        msg = f"there is one arm, {listed}; a lift needs a control and one more"
        raise ConfigurationError(msg)
    if given is not None:
        if given not in names:
            msg = f"--control {given!r} is no arm; the arms are {listed}"
            raise ConfigurationError(msg)
        return names.index(given)
    found = [code for code, name in enumerate(names) if name.casefold() in _CONTROLS]
    if len(found) != 1:
        msg = f"which arm is the control? The arms are {listed}; say --control ARM"
        raise ConfigurationError(msg)
    return found[0]


def _enough(file: Path, names: list[str], arm: Any, covariates: int) -> None:
    """Refuse arms of whose spread nothing can be said."""
    for name, n in zip(names, np.bincount(arm).tolist(), strict=True):
        if n < covariates + 3:
            msg = (
                f"arm {name!r} of {file} has {n} rows, {covariates + 3} are needed; leave it out, "
                "or is the column no treatment?"
            )
            raise ConfigurationError(msg)


def _money(
    rows: Table, outcome: Any, revenue: str | None, value: float | None, cost: float | None
) -> lab.Money | None:
    """What the return is made of; None where not all of it is told.

    Raises:
        ConfigurationError: revenue is told twice, a cost is none, or one lacks the other.
    """
    if revenue and value is not None:
        msg = f"--revenue {revenue} and --value {value:g} both say what a row brought; give one"
        raise ConfigurationError(msg)
    worth = rows.numbers(revenue, "--revenue") if revenue else None
    if worth is None and value is not None:
        worth = value * outcome
    if cost is not None and cost <= 0:
        msg = f"--cost {cost:g} is not above 0; a return needs something that was spent"
        raise ConfigurationError(msg)
    if (worth is None) != (cost is None):
        msg = "a return needs --cost and one of --revenue and --value; give both, or neither"
        raise ConfigurationError(msg)
    return lab.Money(revenue=worth, cost=cost) if worth is not None and cost is not None else None


def _shown(result: dict[str, Any]) -> Group:
    rows = [
        (
            name,
            f"{arm['n']:,}",
            arm["mean"],
            arm["lift"],
            _span(arm["interval"]),
            arm["relative_lift"] and f"{arm['relative_lift']:+.1%}",
            arm["p_value"],
            arm["roi"],
        )
        for name, arm in result["arms"].items()
    ]
    columns = ("arm", "rows", "mean", "lift", "95% interval", "relative", "p", "roi")
    title = f"{result['outcome']} by {result['treatment']}, control {result['control']}"
    arms = result["adjusted_for_arms"]
    note = f"intervals and p-values hold for {arms} comparison{'s' * (arms > 1)} at once"
    return Group(table(title, columns, rows), Text(note))


def _span(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:+.4g} to {interval[1]:+.4g}"
