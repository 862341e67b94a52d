"""`sendtide lab`: predictions against known truth, real logs and baselines."""

from __future__ import annotations

from sendtide.commands import lab_newsletters, lab_opens
from sendtide.commands.program import new_program

__all__ = ["program"]

program = new_program("Measure predictions on real logs, beside baselines.")
program.command(name="newsletters")(lab_newsletters.newsletters)
program.command(name="opens")(lab_opens.opens)
