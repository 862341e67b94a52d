"""The report of `sendtide lab history` in sentences; numbers as in `history_result`."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["by_log", "by_model", "caution", "drift", "hours", "method", "rows"]

_DAY_MS: Final = 86_400_000


def caution(verdict: str) -> str:
    """What stands below the verdict."""
    return (
        "To know, send a share of the mail at drawn hours, and keep their probabilities."
        if verdict == "cannot_tell"
        else "An estimate from past mail, not an experiment: it holds as far as hours were not "
        "chosen by what would be opened then."
    )


def by_log(found: dict[str, Any]) -> str:
    """What the log says of other hours."""
    if found["refused"]:
        reason = str(found["reason"])
        return f"By the log: refused. {reason[:1].upper()}{reason[1:]}."
    left_out = (
        f" {found['left_out']:,} sends are left out: their client has one slot on that weekday."
        if found["left_out"]
        else ""
    )
    return (
        f"By the log, from {found['sends']:,} sends whose hours varied: {found['logged']:.1%} were "
        f"opened as it was, {found['estimate']:.1%} would have been at the hours the model would "
        f"have chosen: about {_opens(found['lift'] * found['sends'])}. What counts here is what "
        "people did; the model only chose. "
        f"{found['agreeing']:.0%} of the sends went out as it would have sent them; all of them "
        f"together say as much as {found['effective_sample_size']:,.0f} sends on "
        f"{found['effective_days']:,.0f} sending days at those hours.{left_out}"
    )


def _opens(change: float) -> str:
    return f"{abs(change):,.0f} opens {'more' if change >= 0 else 'fewer'}"


def by_model(found: dict[str, Any]) -> str:
    """What the model believes."""
    return (
        f"By the model, from all {found['sends']:,} sends: it expected {found['used']:.1%} opens "
        f"at the hours used (there were {found['actual']:.1%}), and {found['best']:.1%} at the "
        "best hour of each day. This is as good as the model, and no better: "
        f"{found['outside']:.0%} of those best hours are hours at which this log has next to no "
        "sends."
    )


def hours(found: dict[str, Any]) -> str:
    """How far apart the hours are, and on what evidence."""
    sends = found["recipients_with_sends"].items()
    enough = ", ".join(f"{share:.0%} of {least} or more" for least, share in sends)
    tiers = ", ".join(f"{name} {share:.1%}" for name, share in found["tiers"].items() if share)
    return (
        f"{found['within_one_hour']:.0%} of the sends went out within an hour of the chosen one, "
        f"{found['mean_hours_apart']:.1f} hours apart on average. Recipients by sends that their "
        f"record holds at the end: {enough}. Whose history answered, by sends: {tiers}."
    )


def drift(found: dict[str, Any]) -> str:
    """The largest drift."""
    worst = max(found["months"], key=lambda month: month["psi"])
    return (
        f"Population stability index, in windows of {_days(found['window_days'])} against the "
        "beginning of the log, of what is known of recipients and predicted for them: the five "
        "that moved most; below "
        f"{found['floor']} (broken line) is usual. The largest, "
        f"{worst['psi']:.2f}, is of {worst['feature']} in {worst['month']}. Alarms raised: "
        f"{len(found['alarms'])}."
    )


def _days(number: int) -> str:
    return "a day" if number == 1 else f"{number} days"


def rows(result: dict[str, Any]) -> str:
    """What became of the rows."""
    counts = result["rows"]
    return (
        f"{counts['read']:,} rows read: {counts['used']:,} used, {counts['refused']:,} refused, "
        f"{counts['left_out']:,} left out by the mapping. {result['unfinished']:,} sends were too "
        "near the end of the log for their outcome to be known: these are not scored."
    )


def method(result: dict[str, Any]) -> list[str]:
    """How all this was made, and what it rests on."""
    told = [
        (
            "Every send was predicted before it happened, by the code a worker runs, and learned "
            f"when its horizon of {result['horizon_ms'] / _DAY_MS:g} days was over. Nothing was "
            "known of a send that came after it. The simple rates beside the model are told each "
            "outcome before the next send, which is kinder than life."
        ),
        (
            "Calibration error: mean distance of predicted from actual rates over 15 cells of "
            "equal width, weighed by sends. Recipients were hashed before anything else, with a "
            "key that was forgotten; this page holds no number of any one recipient."
        ),
        _by_what_right(*result["would_have"]["by_log"]["concentration"]),
    ]
    if result["drawn_open_times"] > 0:
        told.append(
            f"Of {result['drawn_open_times']:.0%} of the opens the log does not say when they "
            "were. Their times are drawn: that leaves rates as they are, but tells the send-time "
            "model little of which opens were prompt."
        )
    return told


def _by_what_right(smallest: float, largest: float) -> str:
    span = f"{smallest:g}" if smallest == largest else f"{smallest:g} to {largest:g}"
    return (
        "The estimate by the log is doubly robust, its reward model cross-fitted. The chance of "
        "each send's hour is not known but estimated, from the other hours of the same recipient "
        f"and of the client on that weekday (Dirichlet concentration {span}), three hours at a "
        "time. It holds as far as nobody chose the hour by what would be opened then: if better "
        "messages went out at better hours, it calls that the hour. To know, send a share of the "
        "mail at drawn hours and keep their probabilities."
    )
