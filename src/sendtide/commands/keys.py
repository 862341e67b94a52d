"""`sendtide keys`: API keys for an endpoint that listens beyond loopback."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sendtide.commands.options import JsonFile
from sendtide.commands.output import publish
from sendtide.commands.program import new_program
from sendtide.endpoint.access import Keys, new_key
from sendtide.events.errors import ConfigurationError

__all__ = ["keys", "program"]

program = new_program()

_OWNER_ONLY: Final = 0o600


@program.command()
def keys(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="One key for each.")],
    file: Annotated[Path, typer.Option(metavar="FILE", help="Key file for `sendtide serve`.")],
    clients: Annotated[
        list[str] | None,
        typer.Option("--client", metavar="CLIENT", help="What it may read; without it, all."),
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each secret to DIR/NAME, not to the terminal."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Add API keys to a key file. A secret is shown once; the file holds only its hash.

    A name that the file has is left as it is, so that doing this twice changes nothing.

    Example: `sendtide keys acme-reader --client acme --file keys.toml`
    """
    known = Keys.from_file(file).names if file.exists() else frozenset[str]()
    fresh = [name for name in dict.fromkeys(names) if name not in known]
    made = {name: new_key(name, clients or ["*"]) for name in fresh}
    _write(file, "".join(lines for _, lines in made.values()), append=True)
    # What was written must be readable as a whole, or it locks everybody out at the next start.
    Keys.from_file(file)
    for name, (secret, _) in made.items() if secrets else ():
        _write(Path(secrets or "") / name, secret)
    shown = {name: None if secrets else secret for name, (secret, _) in made.items()}
    result: dict[str, Any] = {"file": str(file), "added": shown, "kept": sorted(known & set(names))}
    publish(result, json, "\n".join(_sentences(shown, secrets)) or "nothing to add")


def _sentences(shown: dict[str, str | None], secrets: Path | None) -> Iterable[str]:
    for name, secret in shown.items():
        yield f"{name}: {secret or f'in {secrets}/{name}'}"


def _write(path: Path, text: str, *, append: bool = False) -> None:
    mode = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    try:
        with os.fdopen(os.open(path, mode, _OWNER_ONLY), "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}); give a path you may write to"
        raise ConfigurationError(msg) from error
