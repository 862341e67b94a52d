"""Asked to stop by a signal."""

from __future__ import annotations

import os
import signal
import time

import pytest

from sendtide.commands.stopping import Stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_interrupts(number):
    """In order at first, at once when repeated."""
    with Stop() as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5.0)
        with pytest.raises(KeyboardInterrupt):
            _signalled_and_waiting(number)


def _signalled_and_waiting(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5.0)


def test_waiting_ends_by_itself_and_handlers_are_put_back():
    """Without a signal the wait is over after its time; leaving restores what was there."""
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        assert not stop.wait(0.01)
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_while_waiting_never_locks_up():
    """A thousand signals around short waits all arrive."""
    for _ in range(1_000):
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(1.0)
