"""The compiled ADWIN: River's verdicts, their sign, its snapshot."""

import numpy as np
import pytest
from river.drift import ADWIN

from sendtide.monitoring.adwin import IMPROVED, WORSENED, LossWatch


def _losses(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = [0.3, 0.35, 0.6, 0.2, 0.2, 0.5]
    return np.concatenate([np.clip(rng.normal(m, 0.15, 1500), 0, 1) for m in levels])


@pytest.mark.parametrize("seed", range(4))
def test_cuts_where_river_cuts(seed: int) -> None:
    """The same values are called changes, and the window has River's length and mean throughout."""
    losses = _losses(seed)
    watch, river = LossWatch(0.002), ADWIN(0.002)
    watch.grow(2)
    row = np.ones(1, np.int32)
    cuts = 0
    for value in losses:
        river.update(float(value))
        verdict = watch.update(row, np.array([value]))[0][0]
        assert (verdict != 0) == river.drift_detected
        assert watch.widths()[1] == river.width
        assert abs(watch.means()[1] - river.estimation) < 1e-9
        cuts += verdict != 0
    assert cuts >= 4
    assert watch.widths()[0] == 0


def test_only_worse_is_called_worse() -> None:
    """A rise of the loss and a fall of it are told apart."""
    rng = np.random.default_rng(1)
    low, high = rng.random(2000) * 0.4, 0.4 + rng.random(2000) * 0.4
    for first, second, sign in [(low, high, WORSENED), (high, low, IMPROVED)]:
        watch = LossWatch(0.002)
        watch.grow(1)
        rows = np.zeros(4000, np.int32)
        verdicts, means = watch.update(rows, np.concatenate([first, second]))
        assert set(verdicts[verdicts != 0].tolist()) == {sign}
        assert (np.sign(means[:, 1] - means[:, 0]) == verdicts).all()


def test_clients_do_not_meet_and_snapshots_go_on() -> None:
    """Interleaved clients, cut and restored in the middle, are judged as each would be alone."""
    streams = [_losses(seed) for seed in range(3)]
    rows = np.tile(np.arange(3, dtype=np.int32), len(streams[0]))
    mixed = np.column_stack(streams).ravel()
    first = LossWatch(0.002)
    first.grow(3)
    verdicts, _ = first.update(rows[:10_001], mixed[:10_001])
    second = LossWatch(0.002)
    second.restore(first.snapshot())
    verdicts = np.concatenate([verdicts, second.update(rows[10_001:], mixed[10_001:])[0]])
    for client, stream in enumerate(streams):
        alone = LossWatch(0.002)
        alone.grow(1)
        expected, _ = alone.update(np.zeros(len(stream), np.int32), stream)
        assert (verdicts[rows == client] == expected).all()
