"""Keys, grants and what is served to whom."""

from __future__ import annotations

import base64
import json

import pytest

from sendtide.endpoint import Keys, background, build, make_server, new_key
from sendtide.events.errors import ConfigurationError

from .asking import ANNA, Client, asking


@pytest.fixture
def keyed(store, tmp_path):
    """(client, secret of acme's key, secret of the key for all)."""
    acme, lines = new_key("acme-reader", ["acme"])
    everyone, more = new_key("operator", ["*"])
    path = tmp_path / "keys.toml"
    path.write_text(lines + more)
    with background(build(store), key_file=path) as url:
        yield Client(url), acme, everyone


def test_no_key_no_answer(keyed):
    """Without a known key: 401 and how to send one; probes stay open."""
    client, _, _ = keyed

    for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Basic !!"}):
        status, found, body = client.ask("GET", "/v2/models", None, headers)
        assert status == 401
        assert "Basic" in found["www-authenticate"]
        assert "API key" in json.loads(body)["error"]
    assert client.get("/v2/health/live")[0] == 200


def test_three_ways_to_send_a_key(keyed):
    """Bearer, X-API-Key and the password of Basic are the same."""
    client, acme, _ = keyed
    basic = base64.b64encode(f"any:{acme}".encode()).decode()

    for headers in (
        {"X-API-Key": acme},
        {"Authorization": f"Bearer {acme}"},
        {"Authorization": f"Basic {basic}"},
    ):
        assert client.infer("send_time", asking(ANNA), headers)[0] == 200


def test_key_reads_only_its_clients(keyed):
    """A key for one client is refused for another, even for one row among its own."""
    client, acme, everyone = keyed
    request = asking(ANNA, ANNA)
    request["inputs"][0]["data"] = ["acme", "rival"]

    status, body = client.infer("send_time", request, {"X-API-Key": acme})

    assert status == 403
    assert "'rival'" in body["error"]
    assert client.infer("send_time", request, {"X-API-Key": everyone})[0] == 200


def test_metrics_need_a_key_for_all(keyed):
    """Prometheus metrics cover all clients, so a client's key does not open them."""
    client, acme, everyone = keyed

    assert client.ask("GET", "/metrics", None, {"X-API-Key": acme})[0] == 403
    assert client.ask("GET", "/metrics", None, {"X-API-Key": everyone})[0] == 200


def test_secret_is_not_in_the_file():
    """The key file's lines hold only a hash of the secret."""
    secret, lines = new_key("x", ["acme"])

    assert secret not in lines
    assert len(secret) >= 43


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_beyond_loopback_needs_keys(store, host):
    """Without keys a reachable address is refused before anything listens."""
    with pytest.raises(ConfigurationError, match="--keys FILE"):
        make_server(build(store), host, 0)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "[2001:db8::1]", ""])
def test_foreign_host_names_are_refused(client, host):
    """A page that points its own name at 127.0.0.1 cannot read through the browser."""
    status, _, body = client.ask("GET", "/v2/models", None, {"Host": host})

    assert status == 403
    assert "not this machine" in json.loads(body)["error"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:8080", "[::1]"])
def test_loopback_names_are_served(client, host):
    """Every name of this machine's loopback is welcome."""
    assert client.ask("GET", "/v2/models", None, {"Host": host})[0] == 200


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[keys.a]\nclients=['x']",
        "[keys.a]\nsha256='short'\nclients=['x']",
        "[keys.a]\nsha256='" + "0" * 64 + "'\nclients=['x']\nextra=1",
    ],
)
def test_bad_key_files(tmp_path, text):
    """A key file that cannot be understood stops the start, with the file's name."""
    path = tmp_path / "keys.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=r"keys\.toml"):
        Keys.from_file(path)


def test_missing_key_file(tmp_path):
    """A key file that is not there stops the start."""
    with pytest.raises(ConfigurationError, match=r"absent\.toml"):
        Keys.from_file(tmp_path / "absent.toml")
