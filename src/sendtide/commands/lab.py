"""`sendtide lab`: models and rules where the truth is known."""

from __future__ import annotations

from sendtide.commands import lab_simulate
from sendtide.commands.program import new_program

__all__ = ["program"]

program = new_program("Try models and rules where the truth is known.")
program.command(name="simulate")(lab_simulate.simulate)


@program.callback()
def about() -> None:
    """Try models and rules where the truth is known."""
