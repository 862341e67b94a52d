"""The page's server over real HTTP."""

from __future__ import annotations

import re
import time

import pytest

from sendtide.dashboard import Dashboard
from sendtide.endpoint import background, build, new_key
from sendtide.sinks import ModelSummary, Owner, RedisReader

from .conftest import asker, until

OWNER = Owner("clients", 0, 1)


def summary(client="acme", **more):
    now_ms = time.time_ns() // 1_000_000
    return ModelSummary(
        client_id=client, model="send_time", as_of_ms=now_ms, newest_event_ms=now_ms, **more
    )


def test_page_and_assets(page):
    """Everything the page names is served by this server, with its type."""
    status, headers, html = page("/")
    named = set(re.findall(r'(?:src|href)="([^"]+)"', html.decode()))

    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert named == {"/assets/mark.svg", "/assets/style.css", "/assets/live.js"}
    for path in [*named, "/assets/draw.js", "/assets/format.js"]:
        assert page(path)[0] == 200


def test_nothing_from_elsewhere(page):
    """No asset names another host, but for the names of XML namespaces."""
    for path in ("/", "/assets/style.css", "/assets/live.js", "/assets/draw.js"):
        text = page(path)[2].decode()
        assert set(re.findall(r"https?://[^\"'\s)]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert "innerHTML" not in text


def test_policy(page):
    """The browser is told to run nothing inline or foreign, and not to be framed or sniffed."""
    for path in ("/", "/assets/live.js", "/api/live"):
        _, headers, _ = page(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_html_holds_nothing_inline(page):
    """The page keeps to its own policy: no inline script, style or handler."""
    html = page("/")[2].decode()

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)


def test_live_numbers_change(page, store):
    """A new summary is on the page's next sample."""
    store.write_models(OWNER, [summary(drift=0.1)])
    first = until(page, lambda body: body["models"])
    store.write_models(OWNER, [summary(drift=0.2)])

    second = until(page, lambda body: body["models"] and body["models"][0]["drift"] == 0.2)

    assert first["models"][0]["drift"] == 0.1
    assert second["kpi"]["drift"] == 0.2
    assert second["trouble"] is None


def test_client_is_read_at_once(page, store):
    """The detail of a client comes straight from the store."""
    store.write_models(OWNER, [summary(hour_scores=[0.5] * 168)])

    status, _, body = page("/api/client/acme")

    assert (status, len(body["hours"]["scores"])) == (200, 168)
    assert page("/api/client/nobody")[2]["hours"] is None


@pytest.mark.parametrize("name", ["%3Cscript%3E", "a%7D%3Ab", "..%2F..", "%00"])
def test_hostile_client_names(page, name):
    """A name that is none is refused as JSON, and is never markup."""
    status, headers, body = page(f"/api/client/{name}")

    assert (status, headers["content-type"]) == (400, "application/json")
    assert "cannot be part of a key" in body["error"]


@pytest.mark.parametrize("path", ["/assets/", "/assets/../app.py", "/assets/%2e%2e/app.py", "/x"])
def test_nothing_else_is_served(page, path):
    """Only the listed assets exist; no path reaches a file."""
    assert page(path)[0] == 404


def test_only_get(page):
    """The dashboard changes nothing."""
    assert page("/api/live", method="POST")[0] == 405


def test_key_sees_its_clients_only(store, tmp_path):
    """A key for one client sees that client's rows and no totals of all."""
    secret, lines = new_key("acme-reader", ["acme"])
    path = tmp_path / "keys.toml"
    path.write_text(lines)
    store.write_models(OWNER, [summary("acme"), summary("rival")])
    with background(build(store, {"/": Dashboard(store)}), key_file=path) as url:
        ask = asker(url)

        def keyed(path):
            return ask(path, {"X-API-Key": secret})

        body = until(keyed, lambda body: body["models"])
        assert [row["client"] for row in body["models"]] == ["acme"]
        assert (body["everything"], body["kpi"], body["phases"]) == (False, None, [])
        assert keyed("/api/client/rival")[0] == 403
        assert keyed("/api/client/acme")[0] == 200
        assert ask("/")[0] == 401


def test_store_away():
    """Without a store the page says why, and the client's detail is 503."""
    reader = RedisReader("redis://127.0.0.1:1/0")
    with background(build(reader, {"/": Dashboard(reader)})) as url:
        ask = asker(url)
        body = until(ask, lambda body: body["trouble"] and "does not answer" in body["trouble"])

        assert body["models"] == []
        assert ask("/api/client/acme")[0] == 503
        assert ask("/")[0] == 200
