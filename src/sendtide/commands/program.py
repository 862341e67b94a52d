"""What every command's own little program has in common."""

from __future__ import annotations

import typer

__all__ = ["new_program"]


def new_program(about: str | None = None) -> typer.Typer:
    """A program for one command, or with `about` for a family of them."""
    made = typer.Typer(
        no_args_is_help=about is not None,
        rich_markup_mode="markdown",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    if about is not None:  # set to None it would hide what a callback's docstring teaches
        made.info.help = about
    return made
