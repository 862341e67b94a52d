"""docker-compose.yml is valid, safe by default, and says nothing the program does not know."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sendtide.commands import app
from servers import require

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "scripts" / "compose"
ONCE = {"topics", "keys"}
WITHOUT_CHECK = ONCE | {"simulator"}


@cache
def resolved() -> dict[str, Any]:
    """The file as docker-compose understands it."""
    require("docker-compose", package="docker-compose")
    ended = subprocess.run(
        ["docker-compose", "-f", str(ROOT / "docker-compose.yml"), "--profile", "demo", "config"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return yaml.safe_load(ended.stdout)


def test_it_brings_every_part():
    """Servers, workers, endpoint with the dashboard, monitoring."""
    wanted = {"kafka", "valkey", "worker", "endpoint", "prometheus", "grafana"}
    assert set(resolved()["services"]) == wanted | WITHOUT_CHECK


def test_only_loopback_is_published():
    """No port of the host is open to other machines."""
    ports = [p for s in resolved()["services"].values() for p in s.get("ports", [])]
    assert len(ports) == 4
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_all_that_stays_has_a_health_check():
    """What starts after it waits for it."""
    for name, service in resolved()["services"].items():
        assert ("healthcheck" in service) == (name not in WITHOUT_CHECK), name


def test_what_it_mounts_is_there():
    """A missing file would be mounted as an empty folder."""
    mounts = [m for s in resolved()["services"].values() for m in s.get("volumes", [])]
    folders = {str(mount).split(":")[0] for mount in mounts if str(mount).startswith("/")}
    assert folders
    assert all(Path(folder).exists() for folder in folders)
    assert (COMPOSE / "Dockerfile").exists()


@pytest.mark.parametrize("service", ["topics", "keys", "worker", "endpoint", "simulator"])
def test_its_commands_are_known(service):
    """Every option stands in the help of its command."""
    command = resolved()["services"][service]["command"]
    words = command[0].split(" && ")[0].split()[1:] if service == "keys" else command
    named = [word for word in words if word.startswith("--")]
    path = words[:2] if words[0] == "topics" else words[:1]
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    missing = [option for option in named if not re.search(rf"{option}\b", shown.stdout)]
    assert missing == []


def test_the_graphs_show_metrics_that_exist():
    """Each name of the Grafana dashboard is one that /metrics writes."""
    board = json.loads((COMPOSE / "grafana" / "dashboards" / "sendtide.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = {name for query in queries for name in re.findall(r"sendtide_\w+", query)}
    sources = ["sinks/prometheus.py", "endpoint/meters.py"]
    texts = "".join((ROOT / "src" / "sendtide" / file).read_text() for file in sources)
    known = set(re.findall(r'"(sendtide_\w+)"', texts))
    assert used
    assert used <= known | {f"{name}_total" for name in known}


def test_prometheus_accepts_its_file(tmp_path):
    """As its own tool sees it, with a secret in place."""
    require("promtool", package="prometheus")
    secret = tmp_path / "secret"
    secret.write_text("x")
    file = tmp_path / "prometheus.yml"
    file.write_text(
        (COMPOSE / "prometheus.yml").read_text().replace("/keys/prometheus", f"{secret}")
    )
    (tmp_path / "alerts.yml").write_text((COMPOSE / "alerts.yml").read_text())
    ended = subprocess.run(
        ["promtool", "check", "config", str(file)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_alerts_fire_when_they_should_and_not_before(tmp_path):
    """Every rule is run on series made for it, by Prometheus' own tool."""
    require("promtool", package="prometheus")
    cases = (Path(__file__).parent / "alerts.test.yml").read_text()
    file = tmp_path / "alerts.test.yml"
    file.write_text(cases.replace("ALERTS", f"{COMPOSE / 'alerts.yml'}"))
    ended = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rules = yaml.safe_load((COMPOSE / "alerts.yml").read_text())["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} <= set(re.findall(r"Sendtide\w+", cases))


def test_alerts_use_metrics_that_exist():
    """A rule over a name nobody writes never fires."""
    used = set(re.findall(r"sendtide_\w+", (COMPOSE / "alerts.yml").read_text()))
    text = (ROOT / "src" / "sendtide" / "sinks" / "prometheus.py").read_text()
    assert used <= set(re.findall(r'"(sendtide_\w+)"', text))
