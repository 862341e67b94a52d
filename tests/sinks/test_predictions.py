"""Predictions of columns are the messages a JSON library would have written."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.events.batch import Names
from sendtide.events.hashing import ARMS, hash_text
from sendtide.events.messages import PredictionMessage, SlotScore
from sendtide.events.predictions import LISTED_SLOTS, NO_SLOT, Predictions
from sendtide.events.records import TIERS
from sendtide.events.texts import Texts
from sendtide.sinks.predictions import prediction_records
from sendtide.transport import BinaryColumn

AT_MS = 1_790_000_000_000
CHANCE = st.floats(0, 1, width=32, allow_subnormal=False)
SLOT = st.builds(
    SlotScore,
    send_at_ms=st.integers(AT_MS, 2 * AT_MS),
    hour_of_week=st.integers(0, 167),
    open_probability=CHANCE,
)
PRINTABLE = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\x7f")
TEXT = st.text(PRINTABLE, min_size=1, max_size=128)
HOW = {
    "control": "slot drawn uniformly from the window: control group",
    "explore": "slot sampled by how likely it is to be the best",
    "optimised": "slot with the highest score in the window",
}
WHOSE = {
    "recipient": "{sends:.1f} sends to this recipient, seen as one of its population",
    "segment": "no sends to this recipient yet: what its segment does",
    "client": "no sends to this recipient yet: what the client's recipients do",
    "all": "nothing learned of this client yet: what all clients' recipients do",
    "prior": "nothing learned yet: an assumed population, in which all hours are equal",
}


@st.composite
def answers(draw):
    """One answer; the reason is the sentence that belongs to its tier and its arm."""
    arm, tier = draw(st.sampled_from(ARMS)), draw(st.sampled_from(TIERS))
    sends = draw(st.floats(0, 1e6, width=32, allow_subnormal=False))
    return PredictionMessage(
        source=draw(st.sampled_from(["esp", "lab.2"])),
        id=draw(TEXT),
        client_id=draw(st.sampled_from(["acme", "b-1", "c_2"])),
        recipient_id=f"{draw(st.integers(0, 2**128 - 1)):032x}",
        requested_at_ms=draw(st.integers(AT_MS, 2 * AT_MS)),
        send_at_ms=draw(st.integers(AT_MS, 2 * AT_MS)),
        open_probability=draw(CHANCE),
        slot_probability=draw(CHANCE),
        interval=(draw(CHANCE), draw(CHANCE)),
        arm=arm,
        propensity=draw(st.floats(1e-12, 1)),
        slots=draw(st.lists(SLOT, min_size=1, max_size=LISTED_SLOTS)),
        tier=tier,
        reason=f"{HOW[arm]}; {WHOSE[tier].format(sends=sends)}",
        effective_sends=sends,
        model_version=draw(st.integers(0, 2**32 - 1)),
        newest_event_ms=draw(st.integers(-1, AT_MS)),
    )


def columns(messages):
    """The same in columns."""
    clients, sources = Names(), Names()
    for message in messages:
        clients.learn(hash_text(message.client_id), message.client_id)
        sources.learn(hash_text(message.source), message.source)
    slots = [m.slots + [None] * (LISTED_SLOTS - len(m.slots)) for m in messages]

    def listed(name, absent):
        return np.array([[getattr(s, name) if s else absent for s in row] for row in slots])

    def column(name, kind):
        return np.array([getattr(m, name) for m in messages], kind)

    return Predictions(
        sources=sources,
        clients=clients,
        ids=Texts.of(m.id for m in messages),
        source=np.array([hash_text(m.source) for m in messages], np.uint64),
        client=np.array([hash_text(m.client_id) for m in messages], np.uint64),
        recipient=np.array(
            [[int(m.recipient_id[:16], 16), int(m.recipient_id[16:], 16)] for m in messages],
            np.uint64,
        ),
        requested_at_ms=column("requested_at_ms", np.int64),
        send_at_ms=column("send_at_ms", np.int64),
        open_probability=column("open_probability", np.float32),
        slot_probability=column("slot_probability", np.float32),
        interval=column("interval", np.float32),
        arm=np.array([ARMS.index(m.arm) for m in messages], np.uint8),
        propensity=column("propensity", np.float64),
        slot_times=listed("send_at_ms", NO_SLOT).astype(np.int64),
        slot_hours=listed("hour_of_week", NO_SLOT).astype(np.int64),
        slot_scores=listed("open_probability", 0).astype(np.float32),
        tier=np.array([TIERS.index(m.tier) for m in messages], np.uint8),
        effective_sends=column("effective_sends", np.float32),
        model_version=column("model_version", np.uint32),
        newest_event_ms=column("newest_event_ms", np.int64),
    )


def written(messages):
    """Keys and values that are written of them."""
    keys, values = prediction_records(columns(messages))
    return list(BinaryColumn.full(*keys)), list(BinaryColumn.full(*values))


def single(number):
    return float(np.float32(number))


def in_its_bits(value):
    """The message, each number as the float32 that it is; a propensity is a double."""
    message = msgspec.json.decode(value, type=PredictionMessage)
    return msgspec.structs.replace(
        message,
        open_probability=single(message.open_probability),
        slot_probability=single(message.slot_probability),
        interval=(single(message.interval[0]), single(message.interval[1])),
        slots=[
            msgspec.structs.replace(slot, open_probability=single(slot.open_probability))
            for slot in message.slots
        ],
        effective_sends=single(message.effective_sends),
    )


@settings(max_examples=60)
@given(st.lists(answers(), min_size=1, max_size=5))
def test_rows_read_back_as_the_messages_they_are(messages):
    """Every field to its last bit, reasons and texts that need escaping too; keys as requests'."""
    keys, values = written(messages)
    assert [in_its_bits(value) for value in values] == messages
    assert keys == [f"{m.client_id}:{m.recipient_id}".encode() for m in messages]


@given(st.lists(answers(), min_size=1, max_size=2))
@settings(max_examples=20)
def test_fields_stand_in_their_order_without_spaces(messages):
    """What differs from another encoder is how a number is spelled, and nothing else."""
    _, values = written(messages)
    for value, message in zip(values, messages, strict=True):
        plain = msgspec.json.encode(message)
        assert list(msgspec.json.decode(value)) == list(msgspec.json.decode(plain))
        assert msgspec.json.encode(in_its_bits(value)) == plain
