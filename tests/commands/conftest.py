"""Embedded servers shared by this room's tests, and a runner for the program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sendtide.commands import app
from sendtide.commands.cluster import Cluster


class Program:
    """Runs `sendtide` in this process; a result has `exit_code`, `stdout` and `stderr`."""

    def __init__(self) -> None:
        self._runner = CliRunner()

    def __call__(self, *arguments: str, stdin: str | bytes | None = None):
        return self._runner.invoke(app, list(arguments), input=stdin)


@pytest.fixture
def program(monkeypatch) -> Program:
    """The program, without the environment's servers."""
    for variable in ("SENDTIDE_KAFKA", "SENDTIDE_REDIS", "SENDTIDE_PSEUDONYM_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return Program()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker and Valkey for the whole session."""
    with Cluster(Path(tmp_path_factory.mktemp("cluster"))) as running:
        yield running
