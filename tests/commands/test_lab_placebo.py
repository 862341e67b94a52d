"""`sendtide lab placebo`: its keys, and that it keeps its word."""

from __future__ import annotations

import json


def test_a_hundred_placebos(program):
    """At most five false lifts of a hundred runs, the same with the same seed."""
    options = ("--runs", "100", "--recipients", "2000", "--days", "30", "--json", "-")
    runs = [program("lab", "placebo", *options) for _ in range(2)]
    assert runs[0].exit_code == 0, runs[0].stderr
    found = json.loads(runs[0].stdout)
    assert found["false_lifts"] <= 5
    assert found["naive_false_lifts"] > 10
    assert found["power"] == found["true_lifts"] / 100
    assert runs[0].stdout == runs[1].stdout
