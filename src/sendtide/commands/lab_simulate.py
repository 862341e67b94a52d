"""`sendtide lab simulate`: send time against published rules on people whose rhythms are known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from sendtide.commands.options import JsonFile
from sendtide.commands.output import progress, publish, table
from sendtide.lab.send_time_trial import POLICIES, TrialResult, TrialSettings, run_trial
from sendtide.sinks import ClientLift
from sendtide.sinks.view import explain_lift

__all__ = ["simulate"]


def simulate(
    seed: Annotated[int, typer.Option(min=0, help="Of people and of chance.")] = 1,
    recipients: Annotated[int, typer.Option(min=10, max=1_000_000)] = 3_000,
    sends: Annotated[int, typer.Option(min=1, max=1_000, help="To each recipient.")] = 30,
    explore: Annotated[float, typer.Option(min=0, max=1, help="Share that explores.")] = 1.0,
    json: JsonFile = None,
) -> None:
    """Let send time and published rules learn side by side, and judge them by the truth.

    Simulated people have rhythms, time zones, drift, fatigue; some never open, some have machines
    that open. Every policy sends to its own copy of them, then names its best slots. All of send
    time's sends explore while it learns, as Thompson sampling does, but for its control group; a
    smaller share loses less meanwhile and knows less in the end.

    Example: `sendtide lab simulate --seed 7 --json -`
    """
    settings = TrialSettings(seed=seed, recipients=recipients, sends=sends, explore_share=explore)
    with progress() as bar:
        task = bar.add_task("sends", total=len(POLICIES) * sends)
        result = run_trial(settings, lambda: bar.advance(task))
    publish(asdict(result), json, _shown(result))


def _shown(result: TrialResult) -> Group:
    rows = [
        (name, result.oracle_lift_share.get(name), value, result.regret[name])
        for name, value in sorted(result.open_probability.items(), key=lambda item: -item[1])
    ]
    columns = ("policy", "share of the oracle's lift", "true P(open)", "regret a send")
    title = f"{result.recipients:,} recipients, {result.sends} sends each, seed {result.seed}"
    trust = (
        f"95% intervals cover {result.interval_coverage:.1%} of the true probabilities, "
        f"expected calibration error {result.ece:.4f}"
    )
    opens = ClientLift(**asdict(result.control_group["open"]))
    group = f"opens of sendtide's recipients against its control group: {explain_lift(opens)}"
    told = result.machines
    machines = (
        f"machines without a mark: {told.caught:.1%} of {told.acts:,} openings and scans caught; "
        f"{told.discarded:.2%} of {told.human_opens:,} opens by people not counted"
    )
    return Group(table(title, columns, rows), *map(Text, (trust, machines, group)))
