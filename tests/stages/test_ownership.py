"""Who has a partition of the group, as the stages are told."""

from __future__ import annotations

import asyncio

import pytest

from sendtide.stages.ownership import Ownership


class _Stage:
    """Notes what it holds; one that is `slow` recovers until it is cancelled."""

    def __init__(self, topic: str, slow: bool) -> None:
        self.topics = (topic,)
        self.held: set[int] = set()
        self.slow = slow

    async def assigned(self, number: int) -> dict[str, int]:
        if self.slow:
            await asyncio.Event().wait()
        self.held.add(number)
        return {self.topics[0]: 0}

    def lost(self, number: int) -> None:
        self.held.discard(number)


@pytest.mark.parametrize("slow", ["a", "b"])
def test_a_unit_taken_away_while_it_recovers_is_held_by_no_stage(slow):
    """The stage that was quicker would go on writing for it."""
    stages = [_Stage(topic, topic == slow) for topic in ("a", "b")]
    ownership = Ownership(stages, {"a": 4, "b": 4})  # type: ignore[arg-type]

    async def run() -> None:
        task = asyncio.ensure_future(ownership.assigned({("a", 1), ("b", 1)}))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert [stage.held for stage in stages] == [set(), set()]
