"""The command line, one file per command; `application` holds the program they hang on.

Comes in: arguments, environment (`SENDTIDE_KAFKA`, `SENDTIDE_REDIS`). Goes out: tables or JSON on
stdout, notes and progress on stderr, an exit code.
Invariant: what is wrong is one sentence and an exit code, never a traceback; with `--json -` stdout
holds one JSON document and nothing else. Limit: it reads and starts things; it computes nothing.
"""

from sendtide.commands.application import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the program and exit."""
    app()
