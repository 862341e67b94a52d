"""Help, exit codes and error sentences of the whole program."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError, KafkaException

from sendtide.commands.application import _COMMANDS, exit_code
from sendtide.events.errors import ConfigurationError, CorruptData, Unavailable
from sendtide.transport import TopicMismatchError

LEAVES = [
    ("chaos",),
    ("up",),
    ("worker",),
    ("serve",),
    ("endpoint",),
    ("produce",),
    ("simulate",),
    ("metrics",),
    ("predict",),
    ("schedule",),
    ("models",),
    ("models", "card"),
    ("doctor",),
    ("topics", "create"),
    ("topics", "list"),
    ("topics", "verify"),
    ("replay", "newsletters"),
    ("lab", "simulate"),
    ("lab", "newsletters"),
    ("lab", "history"),
    ("lab", "opens"),
    ("bench", "parity"),
    ("bench", "worker"),
    ("bench", "freshness"),
    ("bench", "time-trial"),
    ("bench", "memory"),
    ("bench", "recovery"),
    ("bench", "scale"),
    ("bench", "skew"),
    ("bench", "snapshots"),
    ("keys",),
]


def test_help_lists_every_command(program):
    """`sendtide --help` names every command."""
    shown = program("--help")
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in _COMMANDS)


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_teaches_itself(program, words):
    """The help of every command says what it does and gives an example."""
    shown = program(*words, "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.stdout
    assert "Example" in shown.stdout


def test_every_command_is_tested_for_its_help():
    """No command is missing from the list above."""
    assert {words[0] for words in LEAVES} == set(_COMMANDS)


@pytest.mark.parametrize("words", [("nosuch",), ("worker", "--nosuch"), ("predict",)])
def test_wrong_usage_is_exit_2(program, words):
    """An unknown command or option and a missing argument end with 2."""
    assert program(*words).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [("worker",), ("metrics",), ("topics", "list"), ("simulate",), ("serve",)],
    ids=" ".join,
)
def test_a_missing_address_is_one_sentence_and_exit_2(program, words):
    """Without a server's address a command says which option gives it."""
    ended = program(*words)
    assert ended.exit_code == 2
    assert "--kafka" in ended.stderr or "--redis" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_pipeline_with_mistakes_is_exit_2_with_its_line(program, tmp_path):
    """A mistake in the pipeline file is told with file and line."""
    file = tmp_path / "bad.toml"
    file.write_text("[topics]\npartitions = 0\n")
    ended = program("topics", "create", "--kafka", "127.0.0.1:1", "--pipeline", str(file))
    assert ended.exit_code == 2
    assert f"{file}:2" in ended.stderr


def test_kafka_that_does_not_answer_is_exit_3(program):
    """A broker that is away is told as such."""
    ended = program("topics", "list", "--kafka", "127.0.0.1:1")
    assert ended.exit_code == 3
    assert "127.0.0.1:1 does not answer" in ended.stderr


def test_redis_that_does_not_answer_is_exit_3(program):
    """A Redis that is away is told as such."""
    ended = program("metrics", "--redis", "redis://127.0.0.1:1/0")
    assert ended.exit_code == 3
    assert "does not answer" in ended.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (TopicMismatchError("x"), 2),
        (Unavailable("x"), 3),
        (CorruptData("x"), 1),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), 3),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), 2),
    ],
)
def test_each_named_error_has_its_exit_code(error, code):
    """Configuration is 2, an absent server 3, other named errors 1."""
    assert exit_code(error)[0] == code


def test_a_mistake_of_ours_is_not_hidden():
    """An error without a name keeps its traceback."""
    assert exit_code(KeyError("x")) is None


def test_it_runs_as_a_module_without_being_installed():
    """`python -m sendtide.commands --version` works out of the sources."""
    command = [sys.executable, "-m", "sendtide.commands", "--version"]
    ended = subprocess.run(command, capture_output=True, env=dict(os.environ), check=False)
    assert ended.returncode == 0
    assert ended.stdout.startswith(b"sendtide")
