"""Deployments that share a folder of snapshots."""

from __future__ import annotations

import numpy as np

from sendtide.pipeline import Pipeline
from sendtide.pipeline.model import Topics
from sendtide.stages.snapshots import snapshot_store


def test_a_deployment_does_not_find_the_snapshots_of_another(tmp_path):
    """Partition 0 of other topics is another state, though the stage has the same name."""
    one, other = (
        snapshot_store(Pipeline(topics=Topics(prefix=prefix)), "recipients", url=str(tmp_path))
        for prefix in ("staging.", "")
    )
    one.write(0, 1, {"staging.email.sends": 5}, {}, {"column": np.arange(3)})
    assert other.newest(0) is None
    found = one.newest(0)
    assert found is not None
    assert found[0].offsets == {"staging.email.sends": 5}
