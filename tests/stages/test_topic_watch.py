"""Topics that change under a worker, on a broker that says what it has."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from sendtide.stages.offsets import OffsetLookup
from sendtide.stages.ownership import Ownership
from sendtide.stages.topic_watch import TopicWatch
from sendtide.transport import TopicMismatchError, TopicSpec, compare_identities, create_topics


@pytest.fixture
def lookup(kafka_bootstrap):
    """Asks the embedded broker."""
    lookup = OffsetLookup({"bootstrap.servers": kafka_bootstrap}, "watched")
    yield lookup
    lookup.close()


@pytest.fixture
def topic(kafka_bootstrap):
    """A topic of eight partitions."""
    name = f"watched-{uuid4().hex}"
    create_topics({"bootstrap.servers": kafka_bootstrap}, [TopicSpec(name, 8)])
    return name


def test_a_topic_that_is_as_it_must_be_is_passed(lookup, topic):
    """Look after look."""
    watch = TopicWatch(lookup, {topic: 8})
    for _ in range(3):
        watch.look()


def test_a_topic_with_other_partitions_is_named_at_once(lookup, topic):
    """A count never passes by itself."""
    with pytest.raises(TopicMismatchError, match=f"{topic}: 8, must be 4"):
        TopicWatch(lookup, {topic: 4}).look()


def test_a_topic_is_missing_at_the_second_look_in_a_row(lookup, topic):
    """A broker that has just started may not know it yet."""
    gone = f"gone-{topic}"
    watch = TopicWatch(lookup, {topic: 8, gone: 8})
    watch.look()
    with pytest.raises(TopicMismatchError, match=f"{gone}: missing, must be 8"):
        watch.look()


def test_a_partition_beyond_those_of_the_deployment_is_not_begun():
    """The group may have noticed that a topic was grown before the watch has."""
    ownership = Ownership((), {"email.sends": 4})
    with pytest.raises(TopicMismatchError, match=r"email\.sends: 8, must be 4"):
        asyncio.run(ownership.assigned({("email.sends", 3), ("email.sends", 7)}))


def test_a_topic_made_again_has_another_identity(lookup, topic, kafka_bootstrap):
    """And one that is missing has none."""
    settings = {"bootstrap.servers": kafka_bootstrap}
    before = lookup.identities([topic, f"gone-{topic}"])
    assert list(before) == [topic]
    assert lookup.identities([topic]) == before
    admin = AdminClient(settings)
    admin.delete_topics([topic])[topic].result(20)
    create_topics(settings, [TopicSpec(topic, 8)])
    after = lookup.identities([topic])
    compare_identities({}, after)
    compare_identities(after, after)
    with pytest.raises(TopicMismatchError, match=f"{topic}: not the topic"):
        compare_identities(before, after)
