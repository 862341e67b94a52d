"""A few rows of the fault matrix in every run; all of them: `sendtide chaos --set long`."""

from __future__ import annotations

import pytest

from sendtide.chaos import MUTATIONS, ROWS, Stand, run_mutation, run_row
from sendtide.pipeline import Pipeline
from sendtide.stages.warm_up import warm_up
from servers import require

CHOSEN = (
    "killed mid-snapshot",
    "Redis out of memory",
)


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    """Apache Kafka and Redis, started once for all rows."""
    require("java", "mvn", package="default-jre-headless maven")
    require("redis-server", package="redis-server")
    warm_up(Pipeline())  # a fault's bound leaves no time to compile in
    with Stand(tmp_path_factory.mktemp("stand")) as running:
        yield running


@pytest.mark.parametrize("fault", CHOSEN)
def test_a_fault_fires_and_costs_nothing(stand, fault):
    """It met work in flight; ledger, replay and order hold; lag is 0 again within the bound."""
    row = next(row for row in ROWS if row.fault == fault)
    result = run_row(stand, row, seed=1)
    assert result.ok, "\n".join([f"{result}", *result.findings])


def test_the_judge_notices_a_broken_promise(stand):
    """With de-duplication switched off in the worker the ledger is not exact."""
    mutation = next(m for m in MUTATIONS if m.breaks == "dedupe")
    outcome, result = run_mutation(stand, mutation, seed=1)
    assert outcome["caught"], "\n".join([f"{result}", *result.findings])
    assert result.double > 0
