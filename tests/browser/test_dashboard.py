"""The page as a person sees it, in a real browser."""

from __future__ import annotations

import time

import msgspec
import pytest

from dashboard.test_card import fed as taught
from sendtide.dashboard import Dashboard
from sendtide.endpoint import background, build
from sendtide.sinks import (
    ClientLift,
    MemoryStore,
    ModelSummary,
    Owner,
    PartitionCounts,
    SourceFreshness,
    WorkerBeat,
)

pytestmark = pytest.mark.browser

OWNER = Owner("clients", 0, 1)
HOSTILE = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='x'</script>"


def now_ms():
    return time.time_ns() // 1_000_000


def peak(hour):
    return [0.4 if i == hour else 0.1 for i in range(168)]


def feed(store, applied=1000, drift=0.05, speed=1234.0, feature="words"):
    """Two clients, a worker, a source and the ledger."""
    at = now_ms()
    both = {"as_of_ms": at, "newest_event_ms": at, "model_version": 3, "learned": 50}
    rows = [
        ModelSummary(client_id="acme", model="open_propensity", auc=0.8, log_loss=0.35, **both),
        ModelSummary(
            client_id="acme",
            model="send_time",
            drift=drift,
            drift_feature=feature,
            drift_state="firing" if drift > 0.2 else "none",
            best_hour=33,
            hour_scores=peak(33),
            **both,
        ),
        ModelSummary(
            client_id="b.co", model="send_time", best_hour=100, hour_scores=peak(100), **both
        ),
    ]
    store.write_models(OWNER, rows)
    source = SourceFreshness(
        client_id="acme", source="ses-eu", partition=0, newest_event_ms=at, as_of_ms=at, late=7
    )
    store.write_freshness(OWNER, [source])
    counts = {"applied": applied, "late": 2, "dead_letter": 1, "predictions": 77}
    store.write_counts(
        OWNER, [PartitionCounts(client_id=None, topic="email.sends", partition=0, counts=counts)]
    )
    store.beat(
        WorkerBeat(
            worker="w-1", at_ms=at, started_at_ms=at, events_per_s=speed, freshness_p99_s=0.25
        )
    )


def test_live_numbers_appear_and_change(browser):
    """Key figures, rows and the ledger are drawn, and follow the store without a reload."""
    store = MemoryStore()
    feed(store)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelector('#kpi-events_per_s').textContent === '1,234'")
        assert browser.text("#kpi-freshness_p99_s") == "250 ms"
        assert browser.text("#kpi-drift") == "0.050"
        assert browser.text("#buckets .bucket dd") == "1,000"
        assert browser.run("return document.querySelectorAll('#models tr').length") == 3
        browser.until("return document.querySelector('.pulse.on')")

        feed(store, applied=2500, drift=0.31, speed=4321.0)

        browser.until("return document.querySelector('#kpi-events_per_s').textContent === '4,321'")
        browser.until("return document.querySelector('#buckets dd').textContent === '2,500'")
        assert browser.text("#kpi-drift") == "0.310"
        assert browser.run("return document.querySelector('#kpi-drift').className") == "firing"
        browser.until("return document.querySelector('#card-events_per_s polyline')")
        assert browser.complaints() == []


def test_best_hour_of_the_chosen_client(browser):
    """The first client's week is drawn at once; a click on another draws that one's."""
    store = MemoryStore()
    feed(store)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelector('#hours-client').textContent === 'acme'")
        browser.until("return document.querySelector('#hours-foot').textContent.includes('Tue 09')")
        assert browser.run("return document.querySelectorAll('#hours .cell').length") == 168
        assert browser.text("#sources td") == "ses-eu"

        browser.run("document.querySelectorAll('#models tr')[2].click()")

        browser.until("return document.querySelector('#hours-client').textContent === 'b.co'")
        browser.until("return document.querySelector('#hours-foot').textContent.includes('Fri 04')")
        assert browser.text("#sources td") is None


def test_clients_can_be_found(browser):
    """The search keeps the rows whose client matches."""
    store = MemoryStore()
    feed(store)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelectorAll('#models tr').length === 3")
        browser.run(
            "const box = document.querySelector('#filter'); box.value = 'B.C';"
            "box.dispatchEvent(new Event('input'))"
        )

        assert browser.run("return document.querySelectorAll('#models tr').length") == 1
        assert browser.text("#models td") == "b.co"


def test_phases_are_honest(browser):
    """Five phases, and business value does not claim to be live without control sends."""
    store = MemoryStore()
    feed(store)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelectorAll('.phase').length === 5")
        names = browser.run(
            "return [...document.querySelectorAll('.phase-name')].map((x) => x.textContent)"
        )

    assert names == [
        "Data preparationlive",
        "Model developmentlive",
        "Deploymentlive",
        "Monitoringlive",
        "Business valuewaiting",
    ]


def test_a_lift_is_told_with_its_interval(browser):
    """In the life cycle and at the chosen client; it changes with the store."""
    store = MemoryStore()
    feed(store)
    row = ClientLift(
        client_id="acme",
        metric="lift.open",
        verdict="no lift yet",
        lift=0.0025,
        low=-0.004,
        high=0.009,
        control_sends=12_031,
        since_ms=now_ms(),
        as_of_ms=now_ms(),
    )
    store.write_lifts(OWNER, [row])
    says = "no lift yet: between -0.4 and +0.9 points, 12,031 control sends"
    phase = "[...document.querySelectorAll('.phase')].map((x) => x.textContent).join()"
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until(f"return {phase}.includes('opens: {says}')")
        browser.until("return document.querySelector('#lifts td.says')")
        assert browser.text("#lifts td.says") == says
        assert "acme" in browser.text("#lifts-foot")

        up = {"verdict": "lift", "lift": 0.012, "low": 0.003, "high": 0.021}
        store.write_lifts(OWNER, [msgspec.structs.replace(row, **up)])

        browser.until(f"return {phase}.includes('lift: +1.2 points')")
        browser.until(
            "return document.querySelector('#lifts td.says').textContent.startsWith('lift: +1.2')"
        )
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.complaints() == []


class HostileStore(MemoryStore):
    """A store in which somebody has managed to put markup where names stand."""

    def metrics(self, client=None, limit=100):
        rows = super().metrics(None, limit)
        summary = {"client_id": HOSTILE, "model": HOSTILE, "drift_feature": HOSTILE}
        return [
            msgspec.structs.replace(row, summary=msgspec.structs.replace(row.summary, **summary))
            for row in rows
        ]

    def lifts(self, client=None, limit=100):
        return []

    def freshness(self, client):
        return [
            msgspec.structs.replace(row, source=HOSTILE, client_id=client)
            for row in super().freshness("acme")
        ]

    def counts(self, client):
        return {}

    def state(self, client, kind):
        return None


def test_markup_in_names_stays_text(browser):
    """Names from tenants are shown letter by letter; nothing of them runs or becomes an element."""
    store = HostileStore()
    feed(store, drift=0.3)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelector('#sources td')")
        browser.until("return document.querySelector('#reasons-model').textContent")

        for selector in (
            "#models td",
            "#models td.model",
            "#hours-client",
            "#sources td",
            "#reasons-model",
        ):
            assert browser.text(selector) == HOSTILE
        assert HOSTILE in browser.text("#note-drift")
        assert browser.run("return document.title") == "Sendtide"
        assert browser.run("return document.querySelectorAll('main img, main script').length") == 0
        assert browser.complaints() == []


def test_server_gone(browser):
    """When the server goes away the page says so and keeps the last numbers."""
    store = MemoryStore()
    feed(store)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelector('.pulse.on')")

    browser.until("return !document.querySelector('#trouble').hidden")

    assert "last ones heard" in browser.text("#trouble")
    assert browser.text("#kpi-events_per_s") == "1,234"
    browser.complaints()  # refused connections are meant here


def test_empty_store(browser):
    """Before the first event the page invites, without an error."""
    store = MemoryStore()
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.until("return document.querySelector('.pulse.on')")

        assert browser.text("#models-empty").startswith("No model has reported yet")
        assert browser.text("#kpi-drift") == "\N{EN DASH}"
        assert browser.complaints() == []


def test_a_model_is_explained_and_has_a_card(browser):
    """The chosen model's features are drawn, largest first; its card is one click away."""
    store = MemoryStore()
    taught(store)
    with background(build(store, {"/": Dashboard(store)})) as url:
        browser.open(url)
        browser.complaints()  # those of the page before, whose server is gone
        browser.until("return document.querySelectorAll('#reasons tr').length === 8")
        sizes = browser.run(
            "return [...document.querySelectorAll('#reasons td.num')].map((x) => +x.textContent)"
        )
        widths = browser.run(
            "return [...document.querySelectorAll('#reasons rect')]"
            ".map((x) => x.getBoundingClientRect().width)"
        )
        assert sizes == sorted(sizes, reverse=True)
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 50
        assert browser.complaints() == []
        browser.open(browser.run("return document.querySelector('#card-link').href"))
        assert browser.text("h1") == "open-propensity of client-0"
        headings = "return [...document.querySelectorAll('h2')].map((x) => x.textContent)"
        assert "Fairness by mailbox provider" in browser.run(headings)
        assert browser.complaints() == []
