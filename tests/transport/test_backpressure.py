"""Counting what is in flight."""

from __future__ import annotations

import threading

from sendtide.transport.backpressure import InFlight

P, Q = ("t", 0), ("t", 1)


def test_a_partition_is_over_by_pieces_or_by_bytes_and_relieved_at_half():
    """Pausing and resuming at different marks keeps a busy partition from flapping."""
    load = InFlight(max_bytes=100, max_chunks=4, max_events=10)
    load.count_chunks(["t"])
    for _ in range(4):
        load.add(P, 500, 5)
    load.add(Q, 1, 100)
    assert load.wait_below(0) == {P, Q}
    load.remove(P, 1, 5)
    assert load.wait_below(0) == {Q}
    assert load.relieved([P, Q]) == set()
    load.remove(P, 2, 10)
    load.remove(Q, 1, 100)
    assert load.relieved([P, Q]) == {P, Q}


def test_events_of_ordinary_topics_count_one_by_one():
    """A fetch of many events fills the limit of an ordinary topic at once."""
    load = InFlight(max_bytes=1_000, max_chunks=4, max_events=10)
    load.add(P, 10, 10)
    assert load.wait_below(0) == {P}


def test_waiting_ends_when_work_is_finished():
    """The poll thread is woken by the application, not by a timeout."""
    load = InFlight(max_bytes=1_000, max_chunks=4, max_events=1)
    load.add(P, 1, 1)
    finish = threading.Timer(0.05, load.remove, (P, 1, 1))
    finish.start()
    assert load.wait_below(30) == set()
    finish.join()


def test_a_dropped_partition_is_forgotten_and_late_reports_ignored():
    """Work of an assignment that is gone does not count for the next one."""
    load = InFlight(max_bytes=10, max_chunks=4, max_events=10)
    load.add(P, 5, 10)
    load.drop([P])
    load.remove(P, 1, 2)
    assert load.load(P) == (0, 0)
