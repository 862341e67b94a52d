"""Copartition groups as data."""

from __future__ import annotations

import pytest

from sendtide.transport.errors import ConfigurationError, TopicMismatchError
from sendtide.transport.rebalance import CopartitionGroups


def test_only_leaders_are_subscribed():
    """A follower is never subscribed to, a topic in no group always."""
    groups = CopartitionGroups([["sends", "engagements"]])
    assert groups.subscription(["engagements", "sends", "alone"]) == ["alone", "sends"]


def test_a_unit_holds_the_same_partition_number_of_all_topics():
    """What the group gives of the leader stands for its followers too."""
    groups = CopartitionGroups([["a", "b", "c"]])
    assert groups.units([("a", 3), ("x", 1)]) == {
        ("a", 3): frozenset({("a", 3), ("b", 3), ("c", 3)}),
        ("x", 1): frozenset({("x", 1)}),
    }


def test_a_companion_goes_where_its_leader_goes():
    """As far as it has partitions; only the leader is subscribed to."""
    groups = CopartitionGroups([["a", "b"]], {"x": ("a", 2)})
    assert groups.subscription(["a", "b", "x"]) == ["a"]
    assert groups.units([("a", 1), ("a", 2)]) == {
        ("a", 1): frozenset({("a", 1), ("b", 1), ("x", 1)}),
        ("a", 2): frozenset({("a", 2), ("b", 2)}),
    }
    groups.verify({"a": 4, "b": 4, "x": 2})
    with pytest.raises(TopicMismatchError, match="x: 3, must be 2"):
        groups.verify({"a": 4, "b": 4, "x": 3})


@pytest.mark.parametrize("companions", [{"b": ("a", 2)}, {"x": ("b", 2)}])
def test_a_companion_follows_a_leader_only(companions):
    """Who follows cannot lead, and nobody follows twice."""
    with pytest.raises(ConfigurationError, match="one of them follows"):
        CopartitionGroups([["a", "b"]], companions)


def test_a_topic_in_two_groups_is_refused():
    """It could not follow both leaders."""
    with pytest.raises(ConfigurationError, match="'b' is in two"):
        CopartitionGroups([["a", "b"], ["c", "b"]])


@pytest.mark.parametrize("counts", [{"a": 4, "b": 8}, {"a": 4}])
def test_unequal_or_missing_topics_are_refused(counts):
    """Equal keys would not meet."""
    with pytest.raises(TopicMismatchError, match="equal partition counts"):
        CopartitionGroups([["a", "b"]]).verify(counts)
    CopartitionGroups([["a", "b"]]).verify({"a": 4, "b": 4})
