"""A slow, plain recount of what the join must come to; shares no code with the package.

Reads whole prefixes, not streams: rows are plain dicts, and every rule is applied to the whole.
"""

from __future__ import annotations


def admitted(rows, lateness_ms):
    """Rows that are neither repeats nor late, each with its offset; and the final watermark."""
    newest, seen, kept = None, set(), []
    for offset, row in enumerate(rows):
        if row.get("erase"):
            kept.append((offset, row))
            continue
        if newest is not None and row["time"] < newest - lateness_ms:
            continue
        if row["id"] in seen:
            continue
        seen.add(row["id"])
        newest = row["time"] if newest is None else max(newest, row["time"])
        kept.append((offset, row))
    return kept, (newest - lateness_ms if newest is not None else -(1 << 60))


def labels(sends, engagements, settings):
    """Send offset to (opened, clicked, converted, machine, bounced, unsubscribed, complained,
    delay in s, sends before, opens before)."""
    kept, _ = admitted(sends, settings.sends_lateness_ms)
    erased_at = {(r["client"], r["person"]): offset for offset, r in kept if r.get("erase")}
    live = [
        (offset, r)
        for offset, r in kept
        if not r.get("erase") and (r["client"], r["person"]) not in erased_at
    ]
    engaged, watermark = admitted(engagements, settings.engagements_lateness_ms)
    facts = {offset: _facts(r, engaged, settings) for offset, r in live}
    out = {}
    for offset, row in live:
        opened, clicked, converted, *others_facts = facts[offset]
        if row["time"] + settings.horizon_ms > watermark:
            continue
        others = [
            (r, facts[o])
            for o, r in live
            if (r["client"], r["person"]) == (row["client"], row["person"])
            and r["time"] < row["time"]
            and not facts[o][4]  # bounced
        ]
        before = sum(f[0] is not None and f[0] < row["time"] for _, f in others)
        signs = [sign for sign in (opened, clicked, converted) if sign is not None]
        delay = (signs[0] - row["time"]) // 1000 if signs else -1
        happened = (*(s is not None for s in (opened, clicked, converted)), *others_facts)
        out[offset] = (*happened, delay, len(others), before)
    return out


def _facts(send, engaged, settings):
    """First open, click and conversion by a person, None for none; then what else happened."""
    end = send["time"] + settings.horizon_ms
    mine = [r for _, r in engaged if r["message"] == send["id"] and send["time"] <= r["time"] < end]
    marked = any(r["kind"] in ("open", "click") and r["machine"] == 2 for r in mine)
    times = {
        kind: sorted(r["time"] for r in mine if r["kind"] == kind and r["machine"] != 2)
        for kind in ("open", "click")
    }
    converted = min((r["time"] for r in mine if r["kind"] == "conversion"), default=None)
    delivered = [r["time"] for r in mine if r["kind"] == "delivered"]
    people = by_people(send["time"], delivered, **times, within=settings.machine_within_ms)
    machine = marked or any(
        before and before[0] != first for before, first in zip(times.values(), people, strict=True)
    )
    rest = [any(r["kind"] == k for r in mine) for k in ("bounce", "unsubscribe", "complaint")]
    return (*people, converted, machine, *rest)


def by_people(sent, delivered, open, click, within):  # noqa: A002
    """First open and first click that are no machine's; times sorted. within 0: the first ones."""
    burst = []
    if within and len(click) >= 3 and click[2] - click[0] < within // 10:
        burst = [click[0] - within // 10, click[0] + within]

    def human(time):
        hasty = within and time < min(delivered, default=sent) + within
        return not hasty and not (burst and burst[0] <= time < burst[1])

    looked_at = [sorted({*times[:3], *times[-1:]}) for times in (open, click)]
    return [next(filter(human, times), None) for times in looked_at]
