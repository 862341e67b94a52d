"""`sendtide lab placebo`: how often the control group announces a lift where nothing was done."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from sendtide import lab
from sendtide.commands.options import JsonFile
from sendtide.commands.output import progress, publish, table

__all__ = ["placebo"]


def placebo(
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="Simulated experiments.")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    recipients: Annotated[int, typer.Option(min=500, max=10_000_000, help="Of each run.")] = 5_000,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="With a look after each.")] = 60,
    control: Annotated[float, typer.Option(min=0.001, max=0.999, help="Control's share.")] = 0.1,
    effect: Annotated[
        float, typer.Option(min=1.01, max=10, help="Odds ratio of an open, for the power.")
    ] = 1.5,
    json: JsonFile = None,
) -> None:
    """Let the interval of the control group look at data without any effect, after every day.

    `false_lifts`: runs in which it ever said "lift"; 5 of 100 are allowed. Beside it the same looks
    by a z-test at 5%, which looking again and again misleads, and how many of as many runs with a
    true effect are found.

    Example: `sendtide lab placebo --runs 100 --seed 7 --json -`
    """
    settings = lab.PlaceboSettings(recipients=recipients, days=days, control=control)
    with progress() as bar:
        task = bar.add_task("runs", total=2 * runs)
        nothing, something = (
            lab.run_placebo(runs, ratio, start, settings, lambda: bar.advance(task))
            for ratio, start in ((1.0, seed), (effect, seed + 1))
        )
    result = {
        "runs": runs,
        "false_lifts": nothing.lifts,
        "false_harms": nothing.harms,
        "naive_false_lifts": nothing.naive,
        "true_effect": effect,
        "true_lifts": something.lifts,
        "power": something.lifts / runs,
        "recipients": recipients,
        "days": days,
        "control": control,
        "seed": seed,
    }
    publish(result, json, _shown(result))


def _shown(result: dict[str, Any]) -> Group:
    rows = [
        ("no effect: lift", result["false_lifts"], result["naive_false_lifts"]),
        ("no effect: harm", result["false_harms"], None),
        (f"odds x {result['true_effect']:g}: lift", result["true_lifts"], None),
    ]
    title = f"ever said in {result['runs']:,} runs of {result['days']} looks"
    size = f"{result['recipients']:,} recipients, {result['control']:.1%} control"
    columns = ("", "confidence sequence", "z-test at each look")
    return Group(table(title, columns, rows), Text(f"{size}, seed {result['seed']}"))
