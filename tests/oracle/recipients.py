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
    """Send offset to (opened, clicked, machine, bounced, unsubscribed, complained, delay in s,
    sends before, opens before)."""
    kept, _ = admitted(sends, settings.sends_lateness_ms)
    erased_at = {(r["client"], r["person"]): offset for offset, r in kept if r.get("erase")}
    live = [
        (offset, r)
        for offset, r in kept
        if not r.get("erase") and (r["client"], r["person"]) not in erased_at
    ]
    engaged, watermark = admitted(engagements, settings.engagements_lateness_ms)
    facts = {offset: _facts(r, engaged, settings.horizon_ms) for offset, r in live}
    out = {}
    for offset, row in live:
        opened, clicked, *others_facts = facts[offset]
        if row["time"] + settings.horizon_ms > watermark:
            continue
        others = [
            (r, facts[o])
            for o, r in live
            if (r["client"], r["person"]) == (row["client"], row["person"])
            and r["time"] < row["time"]
            and not facts[o][3]  # bounced
        ]
        before = sum(f[0] is not None and f[0] < row["time"] for _, f in others)
        delay = -1 if opened is None else (opened - row["time"]) // 1000
        happened = (opened is not None, clicked is not None, *others_facts)
        out[offset] = (*happened, delay, len(others), before)
    return out


def _facts(send, engaged, horizon_ms):
    mine = [
        r
        for _, r in engaged
        if r["message"] == send["id"] and send["time"] <= r["time"] < send["time"] + horizon_ms
    ]
    opens = [r["time"] for r in mine if r["kind"] == "open" and r["machine"] != 2]
    clicks = [r["time"] for r in mine if r["kind"] == "click" and r["machine"] != 2]
    machine = any(r["kind"] == "open" and r["machine"] == 2 for r in mine)
    rest = [any(r["kind"] == k for r in mine) for k in ("bounce", "unsubscribe", "complaint")]
    return min(opens, default=None), min(clicks, default=None), machine, *rest
