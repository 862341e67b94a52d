"""Cards: every number is the state's own, groups add up, nothing is made up, markup stays text."""

import re

import numpy as np
import pytest

from clients.blocks import block, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.dashboard.card import model_card
from sendtide.dashboard.card_page import card_html, card_markdown
from sendtide.events.mailbox import MAILBOX_PROVIDERS
from sendtide.models.propensity import FEATURES
from sendtide.sinks import MemoryStore, ModelSummary, Owner, SourceFreshness, StateRow

OWNER = Owner("clients", 0, 1)
HOUR_MS = 3_600_000
NEWEST_MS = 1_780_000_000_000


def fed(store: MemoryStore, n: int = 2_000) -> ClientPartition:
    """A store with everything a worker would have written of three clients."""
    partition, rows = ClientPartition(0, ClientSettings()), example_rows(n)
    # Most live in Europe, some in Japan.
    offset = np.where(np.arange(n) % 10 < 3, 9, 1)
    rows["hour_of_week"] = ((rows["sent_at_ms"] // HOUR_MS + 72 + offset) % 168).astype(np.uint8)
    partition.apply(block(rows, "label"))
    names = ModelSummary.__struct_fields__
    summaries = [
        ModelSummary(**{name: getattr(row, name) for name in names if hasattr(row, name)})
        for row in partition.summaries()
    ]
    store.write_models(OWNER, summaries)
    states = [
        StateRow(client_id=state.client_id, kind=state.kind, value=state.to_bytes())
        for state in partition.take_models()
        if state.client_id != "all"
    ]
    store.write_states(OWNER, states)
    source = SourceFreshness(
        client_id="client-1", source="esp-1", partition=0, newest_event_ms=NEWEST_MS, as_of_ms=1
    )
    store.write_freshness(OWNER, [source])
    return partition


def test_its_numbers_are_those_of_the_live_state(store):
    """Labels, losses, importance and groups of the client itself, none of another."""
    partition = fed(store)
    card = model_card(store, "client-1", "open-propensity", NEWEST_MS + HOUR_MS)
    learning, row = partition.learning, partition.roster.names.index("client-1")
    assert card["data"]["labels"] == card["version"] == learning.quality.learned(row, 0)
    assert card["data"]["positives"] == learning.quality.labels[row, 0, 1]
    assert card["data"]["from_ms"] == learning.groups.began_ms[row]
    assert card["data"]["sources"] == ["esp-1"]
    measured = learning.quality.measures(row, 0)
    assert {name: card["metrics"][name] for name in measured} == measured
    assert set(card["features"]) == set(FEATURES)
    assert list(card["features"].values()) == sorted(card["features"].values(), reverse=True)


def test_groups_add_up_to_the_whole(store):
    """Labels and log losses over groups are the model's; small groups are marked."""
    fed(store)
    card = model_card(store, "client-1", "open-propensity", NEWEST_MS)
    names = {
        "time_zones": ["UTC+0 to +2", "UTC+9 to +11"],
        "mailbox_providers": list(MAILBOX_PROVIDERS[:5]),
    }
    for kind, expected in names.items():
        groups = card["fairness"][kind]
        assert [group["group"] for group in groups] == expected
        assert sum(group["labels"] for group in groups) == card["data"]["labels"]
        total = sum(group["labels"] * group["log_loss"] for group in groups)
        assert total / card["data"]["labels"] == pytest.approx(card["metrics"]["log_loss"])
        assert [group["few"] for group in groups] == [group["labels"] < 200 for group in groups]
        assert all(0.5 < group["ratio"] < 2 for group in groups)
        assert card["fairness"]["says"][kind]


def test_what_is_not_known_says_so(store):
    """A model without a published state has a card without features and groups, and no zeros."""
    summary = ModelSummary(client_id="new", model="open-propensity", as_of_ms=1, newest_event_ms=1)
    store.write_models(OWNER, [summary])
    card = model_card(store, "new", "open-propensity", NEWEST_MS)
    assert card["features"] is None
    assert card["fairness"]["time_zones"] is None
    assert "not known" in card_markdown(card)
    assert model_card(store, "new", "nosuch", NEWEST_MS) is None


def test_markdown_and_page_hold_the_same_numbers(store):
    """Every number of the Markdown's tables stands in the page too."""
    fed(store)
    card = model_card(store, "client-1", "open-propensity", NEWEST_MS)
    text, page = card_markdown(card), card_html(card)
    cells = [cell.strip() for line in text.splitlines() if line.startswith("| ")
             for cell in line.strip("|").split("|")]  # fmt: skip
    assert len(cells) > 60
    assert all(cell in page for cell in cells if re.search(r"\d", cell))
    assert "http" not in page  # it needs nothing from anywhere


def test_names_are_never_markup(store):
    """A model's name with markup in it is shown letter by letter."""
    fed(store)
    card = model_card(store, "client-1", "send-time", NEWEST_MS)
    assert card["kind"] == "send_time"
    page = card_html({**card, "model": "<script>alert(1)</script>"})
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_it_is_served_as_json_and_as_a_page(store, page):
    """Both over HTTP; a model that has not reported is 404."""
    fed(store)
    status, _, card = page("/api/card/client-1/open-propensity")
    assert (status, card["client"]) == (200, "client-1")
    status, headers, body = page("/card/client-1/click-propensity")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"click-propensity of client-1" in body
    assert b"/assets/card.css" in body
    assert page("/assets/card.css")[0] == 200
    assert page("/api/card/client-1/nosuch")[0] == 404
    assert page("/card/..%2f/x")[0] in (400, 404)
