"""The control group from requests to verdict, through both stages: a lift is found, nothing is not.

A provider asks when to send, and either sends then or does as it likes. People's rhythms are those
of the lab; answers, arms, labels and counts are the code that workers run.
"""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.lab.own_policy import Sendtide
from sendtide.lab.people import People

PEOPLE, CAMPAIGNS, CONTROL = 2_500, 12, 0.3
FIRST_HOUR, CAMPAIGN_HOURS = 490_896, 120
"""A Monday, 00:00 UTC; five days, after which labels are final."""


def watched(seed, obeys):
    """What is said of opens after every campaign."""
    policy = Sendtide(People(PEOPLE, CAMPAIGNS, seed), 0.1, CONTROL)
    rng, said = np.random.default_rng(seed), []
    people = People(PEOPLE, CAMPAIGNS, seed)
    for campaign in range(CAMPAIGNS):
        window = np.tile(np.arange(24), (PEOPLE, 1)) + FIRST_HOUR + campaign * CAMPAIGN_HOURS
        chosen = policy.choose(campaign, window, learning=True)
        if not obeys:
            chosen = rng.integers(0, 24, PEOPLE)
        sent = window[np.arange(PEOPLE), chosen]
        policy.learn(campaign, sent, people.react(campaign, sent))
        said.append(policy.lifts()[0])
    return said


@pytest.mark.parametrize("seed", [1, 2])
def test_a_provider_that_follows_the_answers_has_a_lift(seed):
    """Its interval holds the true difference of following and of sending at any hour."""
    said = watched(seed, obeys=True)
    assert said[-1].verdict == "lift"
    assert said[0].verdict == "no lift yet"
    assert 0 < said[-1].low < said[-1].lift < said[-1].high
    assert said[-1].rest_sends + said[-1].control_sends == PEOPLE * CAMPAIGNS
    assert abs(said[-1].control_sends / (PEOPLE * CAMPAIGNS) - CONTROL) < 0.04


@pytest.mark.parametrize("seed", [1, 2])
def test_a_provider_that_does_as_it_likes_has_none(seed):
    """Nothing is done to anybody, and no look after any campaign says otherwise."""
    said = watched(seed, obeys=False)
    assert {look.verdict for look in said} == {"no lift yet"}
    assert said[-1].low < 0 < said[-1].high
