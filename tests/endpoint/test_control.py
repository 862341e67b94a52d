"""The control group over real HTTP: the recipients of stage A, at hours drawn from the window."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from sendtide.endpoint import ControlGroup, Inferrer, background, build
from sendtide.events.hashing import hash_text, in_control
from sendtide.sinks import MemoryStore, Owner, RecipientRows

from .asking import Client, asking, peak, values

MONDAY_MS = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
PEOPLE, SLOTS = 4_000, 24
RECIPIENTS = [f"{i * 2**64 + i * 7919:032x}" for i in range(PEOPLE)]
DAY = {
    "window_start_ms": [MONDAY_MS] * PEOPLE,
    "window_end_ms": [MONDAY_MS + SLOTS * HOUR_MS] * PEOPLE,
}


def of_stage_a(share, salt):
    ids = [(int(text[:16], 16), int(text[16:], 16)) for text in RECIPIENTS]
    client = np.full(PEOPLE, hash_text("acme"), np.uint64)
    return in_control(client, np.array(ids, np.uint64), salt, share)


def answered(share, salt, known=True, **window):
    """What is answered to everybody; all have their best hour on Monday at 9."""
    store = MemoryStore()
    if known:
        ids = [(int(text[:16], 16), int(text[16:], 16)) for text in RECIPIENTS]
        nobody = np.zeros(PEOPLE, int)
        rows = RecipientRows(clients=["acme"], client_index=nobody, recipients=np.array(ids))
        store.write_recipients(Owner("recipients", 0, 1), rows, np.repeat(peak(9), PEOPLE))
    group = ControlGroup(share=share, salt=salt)
    with background(build(store, None, Inferrer(store, control=group))) as url:
        status, body = Client(url).infer("send_time", asking(*RECIPIENTS, **(DAY | window)))
    assert status == 200, body
    return {name: np.array(column) for name, column in values(body).items()}


@pytest.mark.parametrize(("share", "salt"), [(0.3, ""), (0.3, "again"), (0.0, ""), (1.0, "")])
def test_control_recipients_are_those_of_stage_a(share, salt):
    """By the same hash, and marked; the others get their best hour."""
    found, controlled = answered(share, salt), of_stage_a(share, salt)

    assert ((found["arm"] == "control") == controlled).all()
    assert (found["arm"][~controlled] == "optimised").all()
    assert (found["send_at_ms"][~controlled] == MONDAY_MS + 9 * HOUR_MS).all()


def test_hours_of_the_group_are_uniform_with_their_propensities():
    """All hours alike by a chi-squared test; each answer tells its probability."""
    found = answered(0.5, "")
    drawn = found["arm"] == "control"
    slot = (found["send_at_ms"] - MONDAY_MS) // HOUR_MS
    counts = np.bincount(slot[drawn], minlength=SLOTS)

    assert stats.chisquare(counts).pvalue > 0.001
    expected = 0.5 / SLOTS + 0.5 * (slot == 9)
    assert found["propensity"] == pytest.approx(expected)
    assert found["open_probability"][slot == 9] == pytest.approx(0.8)
    assert found["open_probability"][slot != 9] == pytest.approx(0.1, abs=0.002)


def test_a_question_asked_again_has_the_same_answer_and_another_window_another():
    """The draw belongs to the recipient and the window."""
    moved = {"window_end_ms": [MONDAY_MS + SLOTS * HOUR_MS - 1] * PEOPLE}
    once, again, other = answered(1.0, ""), answered(1.0, ""), answered(1.0, "", **moved)

    assert (once["send_at_ms"] == again["send_at_ms"]).all()
    assert (once["send_at_ms"] == other["send_at_ms"]).mean() < 2 / SLOTS


def test_a_window_of_part_of_an_hour_has_one_slot():
    """It begins the window, whoever asks."""
    window = {"window_start_ms": [MONDAY_MS + 1] * PEOPLE}
    window["window_end_ms"] = [MONDAY_MS + 2] * PEOPLE
    found = answered(0.5, "", **window)

    assert (found["send_at_ms"] == MONDAY_MS + 1).all()
    assert (found["propensity"] == 1.0).all()


def test_strangers_of_the_group_get_an_hour_too():
    """Nothing need be known of them; of the others no hour is made up."""
    found, controlled = answered(0.3, "", known=False), of_stage_a(0.3, "")

    assert ((found["send_at_ms"] >= MONDAY_MS) == controlled).all()
    assert (found["arm"] == np.where(controlled, "control", "unknown")).all()
    assert found["propensity"][controlled].astype(float) == pytest.approx(0.3 / SLOTS)
    assert all(value is None for value in found["propensity"][~controlled])
    assert all(value is None for value in found["open_probability"])
