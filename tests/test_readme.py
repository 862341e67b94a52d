"""What the README says is so: its commands exist, its example reads a real record."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sendtide.commands import app
from sendtide.commands.application import _COMMANDS
from sendtide.events.records import RECIPIENT_LAYOUT, RECIPIENT_RECORD
from sendtide.sinks import Owner, RecipientRows, RedisSink

README = (Path(__file__).parents[1] / "README.md").read_text()
RECIPIENT = "00112233445566778899aabbccddeeff"


def test_the_table_names_every_command():
    """A command nobody can find does not exist."""
    table = re.findall(r"^\| (`sendtide .*?) \|", README, re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`sendtide (\w+)`", row)}
    assert named == set(_COMMANDS)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(sendtide [^`]*--[^`]*)`", README))))
def test_options_in_the_text_exist(line):
    """Each option named with a command is in the command's help."""
    words = line.split()
    path = words[1:3] if words[1] in {"bench", "lab", "replay", "topics"} else words[1:2]
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in re.findall(r"--[a-z-]+", line):
        assert option in shown.stdout, option


def test_files_named_in_the_text_exist():
    """Paths of the repository, in backquotes."""
    root = Path(__file__).parents[1]
    paths = re.findall(r"`((?:src|tests|scripts|pipelines|schemas)/[\w./-]*)`", README)
    assert len(paths) > 5
    assert [path for path in paths if not (root / path).exists()] == []


def test_the_lines_of_redis_py_read_a_record(redis_url):
    """The example, run as it stands against what the sink wrote."""
    row = np.zeros(1, RECIPIENT_RECORD)
    row["layout"], row["best_hour"], row["event_time_ms"] = RECIPIENT_LAYOUT, 33, 1_790_000_000_123
    row["score_scale"], row["scores"][0, 33] = 0.5, 255
    halves = np.frombuffer(bytes.fromhex(RECIPIENT), ">u8").astype(np.uint64).reshape(1, 2)
    sink = RedisSink(redis_url)
    rows = RecipientRows(
        clients=["client-0"], client_index=np.zeros(1, np.int64), recipients=halves
    )
    sink.write_recipients(Owner("readme", 0, 1), rows, row)
    sink.close()
    [example] = re.findall(r"```python\n(import redis.*?)```", README, re.DOTALL)
    example = example.replace("redis://127.0.0.1:6379/0", redis_url)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {"recipient_id": RECIPIENT})
    best_hour, rest = printed.getvalue().split(" ", 1)
    scores, event_time_ms = rest.rsplit(" ", 1)
    assert (best_hour, int(event_time_ms)) == ("33", 1_790_000_000_123)
    assert eval(scores)[33] == 0.5
