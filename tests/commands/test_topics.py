"""Creating, listing and verifying topics on a real broker."""

from __future__ import annotations

import json

from sendtide.events.topics import TOPICS


def _pipeline(tmp_path, prefix, partitions):
    file = tmp_path / f"{prefix}{partitions}.toml"
    file.write_text(f'[topics]\nprefix = "{prefix}"\npartitions = {partitions}\nreplication = 1\n')
    return str(file)


def test_creating_twice_creates_once(program, cluster, tmp_path):
    """The second time everything is there already."""
    options = ["--kafka", cluster.kafka.brokers, "--json", "-"]
    options += ["--pipeline", _pipeline(tmp_path, "twice.", 3)]
    first, second = program("topics", "create", *options), program("topics", "create", *options)
    assert first.exit_code == second.exit_code == 0
    assert sorted(json.loads(first.stdout)["created"]) == sorted("twice." + t.name for t in TOPICS)
    assert json.loads(second.stdout)["created"] == []


def test_the_list_tells_partitions_found_and_wanted(program, cluster, tmp_path):
    """A topic that is missing has no partitions; one that is there has its own."""
    options = ["--kafka", cluster.kafka.brokers]
    options += ["--pipeline", _pipeline(tmp_path, "listed.", 2)]
    rows = json.loads(program("topics", "list", *options, "--json", "-").stdout)
    assert {row["partitions"] for row in rows} == {None}
    program("topics", "create", *options)
    rows = json.loads(program("topics", "list", *options, "--json", "-").stdout)
    assert [row["name"] for row in rows] == ["listed." + topic.name for topic in TOPICS]
    assert {row["partitions"] for row in rows} == {2}


def test_other_partition_counts_are_refused_with_names(program, cluster, tmp_path):
    """Verifying names every topic that differs and ends with 2."""
    options = ["--kafka", cluster.kafka.brokers]
    program("topics", "create", *options, "--pipeline", _pipeline(tmp_path, "differ.", 2))
    other = _pipeline(tmp_path, "differ.", 5)
    ended = program("topics", "verify", *options, "--pipeline", other)
    assert ended.exit_code == 2
    assert "differ.email.sends: 2, must be 5" in ended.stderr
    worker = program("worker", *options, "--pipeline", other, "--redis", cluster.redis)
    assert worker.exit_code == 2
