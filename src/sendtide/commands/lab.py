"""`sendtide lab`: models and rules where the truth is known, and on real logs."""

from __future__ import annotations

from sendtide.commands import (
    lab_history,
    lab_newsletters,
    lab_opens,
    lab_placebo,
    lab_policy,
    lab_simulate,
    lab_uplift,
)
from sendtide.commands.program import new_program

__all__ = ["program"]

program = new_program("Try models and rules where the truth is known, and on real logs.")
program.command(name="simulate")(lab_simulate.simulate)
program.command(name="newsletters")(lab_newsletters.newsletters)
program.command(name="history")(lab_history.history)
program.command(name="opens")(lab_opens.opens)
program.command(name="placebo")(lab_placebo.placebo)
program.command(name="policy")(lab_policy.policy)
program.command(name="uplift")(lab_uplift.uplift)
