"""From a simulated provider's bytes to answers: what truly moves opens is what is recommended."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.clients import ClientPartition
from sendtide.events.batch import Names
from sendtide.events.columns import pack
from sendtide.events.creative import creative_of
from sendtide.events.examples import ExampleBlock
from sendtide.events.topics import ENGAGEMENTS, SENDS
from sendtide.gate import EngagementGate, SendGate
from sendtide.lab import Scenario, Simulator
from sendtide.lab.messages import SUBJECTS, VARIANTS
from sendtide.models.content_directory import ContentDirectory
from sendtide.pipeline import Pipeline
from sendtide.recipients import RecipientPartition, blocks, snapshot
from sendtide.stages.client import client_settings
from sendtide.stages.recipient import join_settings

START_MS = 1_767_571_200_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def way():
    """Both stages of one partition after 30 days of mail of two clients, and what was written."""
    pipeline, names = Pipeline(), {k: Names() for k in ("clients", "sources", "segments", "zones")}
    gates = SendGate(max_future_ms=0, **names), EngagementGate(max_future_ms=0, **names)
    people = RecipientPartition(0, join_settings(pipeline))
    clients, offsets, written = ClientPartition(0, client_settings(pipeline)), [0, 0], []
    scenario = Scenario(seed=5, clients=2, recipients=3_000, content_told=True)
    for records in Simulator(scenario).history(START_MS, START_MS + 30 * DAY_MS, 150_000):
        parts = records.by_topic()
        steps = (SENDS.name, people.apply_sends), (ENGAGEMENTS.name, people.apply_engagements)
        for which, (topic, step) in enumerate(steps):
            keys, values, times = parts[topic]
            at = np.arange(offsets[which], offsets[which] + len(keys))
            offsets[which] += len(keys)
            batch, refused = gates[which].read(values, keys, at, times)
            assert not refused
            labels = step(batch).labels
            if labels is None:
                continue
            tables = names["clients"], names["segments"], people.creatives.of(labels["creative"])
            for _, made in blocks(labels, "label", *tables, 1):
                written.append(made.to_bytes())
                clients.apply(ExampleBlock.from_bytes(written[-1]))
    return people, clients, written


@pytest.fixture(scope="module")
def directory(way):
    """What a server that reads ml.models knows."""
    found = ContentDirectory()
    for state in way[1].take_models():
        found.apply(state.to_bytes())
    return found


@pytest.mark.parametrize("client", ["client-00000", "client-00001"])
def test_subjects_rank_as_their_true_effect(directory, client):
    """For recipients of one and the same rate."""
    texts, effects = zip(*SUBJECTS, strict=True)
    base = np.full(len(texts), 0.2)
    told = directory.subject_probability([client] * len(texts), texts, base)
    assert np.corrcoef(np.log(told / (1 - told)), effects)[0, 1] > 0.9
    assert told[int(np.argmax(effects))] > 0.25 > 0.15 > told[int(np.argmin(effects))]


def test_a_word_of_known_effect_lifts_a_subject_never_sent(directory):
    """What was learned of "invited" and "terms" goes over to other subjects with them."""
    subjects = ["Friends, you are invited", "Friends, terms of use change"]
    good, bad = directory.subject_probability(["client-00000"] * 2, subjects, np.full(2, 0.2))
    assert good > 0.22 > 0.18 > bad


def _variants(campaign: str) -> np.ndarray:
    made = [
        creative_of(
            variant=v.name,
            campaign=campaign,
            clickable_images=5,
            image_width=v.width,
            image_height=v.height,
            augmented=v.augmented,
            angle=v.angle,
        )
        for v in VARIANTS
    ]
    return np.concatenate(made)


def test_the_better_variant_wins_even_in_a_new_campaign(directory):
    """By its images' features, more often than the others; with own counts nearly always."""
    scores, shares, _ = directory.variant_choice("client-00000", _variants("new"), 1)
    assert scores.argsort().tolist() == np.argsort([v.effect for v in VARIANTS]).tolist()
    assert shares[0] > 0.4 > 0.3 > shares[2]
    first = START_MS // (2 * DAY_MS)
    sent = [f"campaign-{first + k}" for k in range(1, 10)]
    known = [directory.variant_choice("client-00000", _variants(c), 1)[1] for c in sent]
    assert np.mean(known, axis=0)[0] > 0.85


def test_quality_is_shown_and_better_than_the_base_rate(way):
    """Progressive ranks of the subject model are above those of the propensity it starts from."""
    shown = {(s.client_id, s.model): s for s in way[1].summaries()}
    subject = shown["client-00000", "subject"]
    assert subject.learned > 1_000
    assert subject.auc > shown["client-00000", "open-propensity"].auc + 0.01
    assert shown["client-00000", "variant"].learned == subject.learned


def test_no_text_of_a_subject_is_in_state_or_topics(way):
    """Neither as written nor folded: snapshots of both stages and every example block."""
    people, clients, written = way
    kept = [pack(*snapshot(people)), pack(*clients.snapshot()), *written]
    kept += [state.to_bytes() for state in clients.take_models()]
    for text, _ in SUBJECTS:
        for word in text.split():
            for spelled in (word.encode(), word.casefold().encode()):
                assert len(spelled) < 5 or not any(spelled in data for data in kept), word
