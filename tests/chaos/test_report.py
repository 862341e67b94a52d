"""The table that is kept: how it was made, on what, and what was found where something was."""

from sendtide.chaos import Result, as_json, as_markdown


def result(**more):
    every = {
        "fault": "worker killed",
        "fired": True,
        "in_flight": True,
        "lost": 0,
        "double": 0,
        "order_ok": True,
        "digest_ok": True,
        "recovered_s": 5.44,
        "ok": True,
        "seconds": 30.0,
    }
    return as_json(Result(**{**every, **more}))


def test_the_head_says_how_the_table_is_made_again():
    """The command with its seed, and every version."""
    text = as_markdown([result()], [], 7, {"kafka": "4.3.1", "redis": "7.0.15"})
    assert "sendtide chaos --set long --seed 7 --markdown src/sendtide/chaos/results.md" in text
    assert "On kafka 4.3.1, redis 7.0.15." in text
    assert "| worker killed | yes | yes | 0 | 0 | yes | yes | 5.4 s | yes |" in text
    assert "not ok" not in text


def test_a_row_that_failed_stays_red_with_the_first_line_of_what_was_found():
    """The logs behind it are of one machine."""
    finding = "lag 0 did not happen\nworker-1, /somewhere/worker-1.log:\n..."
    failed = result(ok=False, recovered_s=None, findings=(finding,))
    text = as_markdown([failed], [{"mutation": "fence off", "caught": False}], 7, {})
    assert "| - | **no** |" in text
    assert "- worker killed: lag 0 did not happen\n" in text
    assert "/somewhere" not in text
    assert "- fence off: MISSED" in text
