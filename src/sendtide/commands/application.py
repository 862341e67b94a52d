"""The program itself: the commands hang on it, and errors become exit codes in one place.

Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 a server does not answer,
130 interrupted.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

import typer
from confluent_kafka import KafkaError, KafkaException
from typer.core import TyperCommand, TyperGroup

from sendtide.commands.output import note
from sendtide.events.errors import ConfigurationError, SendtideError, Unavailable
from sendtide.transport.errors import TransportError

__all__ = ["CHECK_FAILED", "INTERRUPTED", "UNAVAILABLE", "USAGE", "app", "exit_code"]

CHECK_FAILED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 3
INTERRUPTED: Final = 130

_AWAY: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)


_COMMANDS: Final = {
    "up": "Start everything on this machine, with a simulated provider.",
    "worker": "Run one worker until stopped.",
    "serve": "Serve predictions, metrics and the dashboard over HTTP.",
    "keys": "Make API keys for an endpoint beyond loopback.",
    "topics": "Create, list and verify the nine topics.",
    "produce": "Send events from a file or standard input.",
    "simulate": "Send simulated mail and what becomes of it.",
    "replay": "Send an archive of the past and score the predictions.",
    "metrics": "Show live numbers per client and model.",
    "predict": "Show one recipient's best hours and what they rest on.",
    "schedule": "Plan when many messages go out, under all rules at once.",
    "models": "Show every client's models and how they do.",
    "doctor": "Check this machine and the servers, and say what to do.",
    "lab": "Try models and rules where the truth is known, and on real logs.",
    "bench": "Measure speed, freshness, memory, recovery, scale.",
    "chaos": "Break real servers and workers on purpose, and prove that nothing is lost.",
    "endpoint": "The same as serve.",
}
_MODULES: Final = {"endpoint": "serve"}
"""Module of a command where it is not the command's name."""


def exit_code(error: Exception) -> tuple[int, str] | None:
    """Exit code and sentence for an error made on purpose, None for a mistake of ours."""
    if isinstance(error, Unavailable):
        return UNAVAILABLE, str(error)
    if isinstance(error, ConfigurationError | TransportError):
        return USAGE, str(error)
    if isinstance(error, KafkaException):
        return _kafka_exit(error.args[0])
    if isinstance(error, SendtideError):
        return CHECK_FAILED, str(error)
    return None


def _kafka_exit(error: Any) -> tuple[int, str]:
    if isinstance(error, KafkaError) and error.code() not in _AWAY:
        return USAGE, f"Kafka refuses: {error.str()}; check --kafka and --kafka-config"
    reason = error.str() if isinstance(error, KafkaError) else str(error)
    return UNAVAILABLE, f"Kafka does not answer: {reason}; check that --kafka is reachable"


class _Commands(TyperGroup):
    """Finds commands by name, and ends each with its exit code, never a traceback for a user."""

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        about = _COMMANDS.get(cmd_name)
        return None if about is None else TyperCommand(cmd_name, help=about, callback=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        # Imported only now: the numeric libraries of all commands together take seconds.
        module = import_module(f"sendtide.commands.{_MODULES.get(name or '', name)}")
        command = typer.main.get_command(module.program)
        command.name = name
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (SendtideError, TransportError, KafkaException) as error:
            found = exit_code(error)
            assert found is not None
            note(f"sendtide: {found[1]}")
            raise typer.Exit(found[0]) from error


app = typer.Typer(
    name="sendtide",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
"""The whole program; a command's module holds a `program` of its own."""


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"sendtide {version('sendtide')}")
    except PackageNotFoundError:
        typer.echo("sendtide, not installed: running out of its sources")
    raise typer.Exit


@app.callback()
def about(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Real-time machine learning for e-mail: Kafka in, online models, live predictions out.

    Begin with `sendtide up`. It needs nothing but this program.

    Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 a server does not answer,
    130 interrupted.
    """
