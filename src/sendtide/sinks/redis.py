"""Writes the read model into Redis or Valkey: few round trips, many values in each, all fenced.

Cost sketch (264-byte records, one writer, loopback, two shared cores): a pipeline of SET EX costs
the writer about 18 µs a record and the server 3; one script call for a thousand of them 1.4 and
1.6 (with MSETEX; 2.1 to 2.6 without). So every write is a script over up to `CHUNK` keys, and up
to `PIPELINE` scripts share a round trip. The script compares the owner's epoch with the fence
before it writes, in the same atomic step. Servers with MSETEX (Valkey 9.1, Redis 8.4) store a
chunk in one call, others in one SET per key inside the script.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha1
from typing import Any, Final
from uuid import uuid4

import msgspec
import numpy as np
import redis
from numpy.typing import NDArray

from sendtide.events.records import RECIPIENT_RECORD
from sendtide.sinks.connection import connect, patiently, shown
from sendtide.sinks.contract import RecipientRows, StateRow
from sendtide.sinks.layout import (
    CLIENTS,
    LIVE_CHANNEL,
    TOTALS,
    WORKERS,
    Owner,
    Retention,
    claimant_key,
    client_key,
    fence_key,
    recipient_keys,
    seal_key,
    worker_key,
)
from sendtide.sinks.seals import Seals
from sendtide.sinks.summaries import (
    ClientLift,
    ModelSummary,
    PartitionCounts,
    SourceFreshness,
    WorkerBeat,
)

__all__ = ["RedisSink"]

CHUNK: Final = 1_000
"""Keys in one script call: long enough to be cheap, short enough (about 1 ms) not to make other
clients of the server wait."""
PIPELINE: Final = 16
"""Script calls in one round trip; bounds the bytes in flight to about 5 MB of records."""
DEFAULT_TIMEOUT_S: Final = 2.0
DEFAULT_PATIENCE_S: Final = 5.0

_FENCE: Final = """
local held, number = redis.call('GET', KEYS[1]), tonumber(ARGV[3])
if held and tonumber(held) > tonumber(ARGV[1]) then
  return redis.error_reply('FENCED epoch ' .. ARGV[1] .. ' of ' .. KEYS[1] .. ' is over: epoch '
    .. held .. ' has taken over; this worker must stop writing')
end
local before = -1
if held == ARGV[1] then before = tonumber(redis.call('GET', KEYS[2]) or '0') end
if number > 0 and before > number then return before end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], before < tonumber(ARGV[4]) and '0' or ARGV[3], 'EX', ARGV[2])
"""
"""Begins every script: KEYS fence, seal, others; ARGV epoch, TTL of both, number, seal expected,
others. Every script returns the seal it found, -1 where the fence was not this epoch's, and leaves
none where that is less than expected, see `seals`. A call that comes after a later one (its answer
was lost on the way, and it was made again) changes nothing."""
_SEAL: Final = _FENCE + "return before"
_SET_EACH: Final = (
    _FENCE
    + """
for i = 3, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 3], 'EX', ARGV[5]) end
return before
"""
)
_SET_AT_ONCE: Final = (
    _FENCE
    + """
local call = {#KEYS - 2}
for i = 3, #KEYS do
  call[2 * i - 4] = KEYS[i]
  call[2 * i - 3] = ARGV[i + 3]
end
call[2 * #KEYS - 2] = 'EX'
call[2 * #KEYS - 1] = ARGV[5]
redis.call('MSETEX', unpack(call))
return before
"""
)
_ERASE: Final = (
    _FENCE
    + """
if #KEYS > 2 then redis.call('DEL', unpack(KEYS, 3)) end
return before
"""
)
_COMMANDS: Final = (
    _FENCE
    + """
local at = 5
for i = 3, #KEYS do
  local command, ttl, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  redis.call(command, KEYS[i], unpack(ARGV, at + 3, at + 2 + count))
  redis.call('EXPIRE', KEYS[i], ttl)
  at = at + 3 + count
end
return before
"""
)
_CLAIM: Final = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
local number = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch = tonumber(ARGV[1])
if held > 0 and redis.call('GET', KEYS[3]) == held .. ':' .. ARGV[4] then return {held, number} end
if held >= epoch then
  if ARGV[3] == '1' then
    return redis.error_reply('FENCED epoch ' .. ARGV[1] .. ' of ' .. KEYS[1] .. ' comes too late: '
      .. 'epoch ' .. held .. ' has taken over; this worker must stop writing')
  end
  epoch = held + 1
end
redis.call('SET', KEYS[1], epoch, 'EX', ARGV[2])
redis.call('SET', KEYS[3], epoch .. ':' .. ARGV[4], 'EX', ARGV[2])
return {epoch, number}
"""
"""KEYS fence, seal, claimant; ARGV epoch, TTL, late, who asks. One that asks again, since the
answer was lost on the way, is told the same."""
_STATES: Final = 100
"""Model states in one script call; bounds it to about 1 MB."""
_MOST_ARGUMENTS: Final = 4_000
"""Lua's unpack fails near 8,000 values."""

Call = tuple[list[bytes], list[Any]]
"""Keys and arguments of one script call, after those of its beginning."""
Command = tuple[str, str, int, list[Any]]
"""(command, key, TTL in seconds, further arguments), e.g. HSET with fields and values."""


class RedisSink:
    """The `Sink` on a real server. Not thread-safe: one per writer."""

    def __init__(
        self,
        url: str,
        retention: Retention | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        patience_s: float = DEFAULT_PATIENCE_S,
        use_msetex: bool | None = None,
    ) -> None:
        """Connect and look what the server can do.

        Raises:
            Unavailable, ConfigurationError: as `connection.patiently`.
        """
        self._retention = retention or Retention()
        self._where = shown(url)
        self._patience_s = patience_s
        self._redis = connect(url, timeout_s)
        self._seals = Seals()
        self._asking: dict[Owner, str] = {}
        if use_msetex is None:
            use_msetex = bool(patiently(self._has_msetex, self._where, patience_s))
        self.uses_msetex = use_msetex

    def _has_msetex(self) -> bool:
        """Ask by a call without arguments: "wrong number" if known, "unknown command" if not."""
        try:
            self._redis.execute_command("MSETEX")
        except redis.exceptions.NoPermissionError:
            return False  # an ACL user without it: SET works everywhere
        except redis.exceptions.ResponseError as error:
            if "unknown command" in str(error):
                return False
            if "wrong number" not in str(error):
                raise
        return True

    def claim(self, owner: Owner, since: int = 0, *, late: bool = False) -> int:
        """Raise the fence in one atomic step, and look whether the seal is what it should be."""
        keys = (3, fence_key(owner), seal_key(owner), claimant_key(owner))
        asker = self._asking.setdefault(owner, uuid4().hex)
        asked = (*keys, owner.epoch, self._retention.fence_s, int(late), asker)
        epoch, number = patiently(
            lambda: self._call(_CLAIM, [asked])[0], self._where, self._patience_s
        )
        del self._asking[owner]
        self._seals.begin(replace(owner, epoch=epoch), number, since)
        return int(epoch)

    def left_ms(self, owner: Owner) -> int | None:
        """By the seal that was found at the claim."""
        return self._seals.left_ms(owner)

    def forgot(self, owners: Sequence[Owner]) -> list[Owner]:
        """Ask for all fences and seals in one round trip."""
        if owners:
            keys = [key(owner) for owner in owners for key in (fence_key, seal_key)]
            values = patiently(lambda: self._redis.mget(keys), self._where, self._patience_s)
            for owner, held, number in zip(owners, values[::2], values[1::2], strict=True):
                self._seals.look(owner, int(held or 0), int(number or 0))
        return self._seals.take_lost(owners)

    def repaired(self, owner: Owner) -> None:
        """Seal the partition again, unless more is missing by now."""
        if self._seals.mended(owner):
            self._run(_SEAL, owner, [([], [])])

    def mark(self, owner: Owner) -> int:
        """Number of the last write that is known to have arrived."""
        return self._seals.mark(owner)

    def write_recipients(
        self, owner: Owner, rows: RecipientRows, records: NDArray[np.void]
    ) -> None:
        """Write n packed records in ceil(n / (CHUNK * PIPELINE)) round trips."""
        assert len(rows) == len(records)
        keys = recipient_keys(rows.clients, rows.client_index, rows.recipients)
        plain = np.ascontiguousarray(records).view(f"V{RECIPIENT_RECORD.itemsize}")
        values: list[bytes] = plain.tolist()
        ttl, script = self._retention.recipient_s, _SET_AT_ONCE if self.uses_msetex else _SET_EACH
        chunks = range(0, len(keys), CHUNK)
        calls: list[Call] = [(keys[i : i + CHUNK], [ttl, *values[i : i + CHUNK]]) for i in chunks]
        self._run(script, owner, calls)

    def erase_recipients(self, owner: Owner, rows: RecipientRows) -> None:
        """Remove records; absent ones are no mistake."""
        keys = recipient_keys(rows.clients, rows.client_index, rows.recipients)
        self._run(_ERASE, owner, [(keys[i : i + CHUNK], []) for i in range(0, len(keys), CHUNK)])

    def write_models(self, owner: Owner, summaries: Sequence[ModelSummary]) -> None:
        """One hash per model; a number that became unknown is removed from it."""
        ttl = self._retention.summary_s
        commands: list[Command] = []
        for row in summaries:
            fields = msgspec.to_builtins(row)
            if row.hour_scores is not None:
                fields["hour_scores"] = msgspec.json.encode(row.hour_scores)
            key = client_key(row.client_id, "model", row.model)
            known = [x for k, v in fields.items() if v is not None for x in (k, v)]
            unknown = [k for k, v in fields.items() if v is None]
            commands.append(("HSET", key, ttl, known))
            if unknown:
                commands.append(("HDEL", key, ttl, unknown))
            commands.append(("SADD", client_key(row.client_id, "models"), ttl, [row.model]))
        self._write(owner, commands, {row.client_id: row.as_of_ms for row in summaries})

    def write_lifts(self, owner: Owner, rows: Sequence[ClientLift]) -> None:
        """One hash per client, one field per metric."""
        ttl = self._retention.summary_s
        commands: list[Command] = [
            ("HSET", client_key(row.client_id, "lift"), ttl, [row.metric, msgspec.json.encode(row)])
            for row in rows
        ]
        self._write(owner, commands, {})

    def write_states(self, owner: Owner, states: Sequence[StateRow]) -> None:
        """One string per model, few in a call, since each has some kilobytes."""
        ttl = self._retention.summary_s
        for i in range(0, len(states), _STATES):
            some = states[i : i + _STATES]
            keys = [client_key(row.client_id, "state", row.kind) for row in some]
            commands: list[Command] = [
                ("SET", key, ttl, [row.value]) for key, row in zip(keys, some, strict=True)
            ]
            self._write(owner, commands, {})

    def write_freshness(self, owner: Owner, rows: Sequence[SourceFreshness]) -> None:
        """One hash per client and source, one field per partition."""
        ttl = self._retention.summary_s
        commands: list[Command] = []
        for row in rows:
            key = client_key(row.client_id, "freshness", row.source)
            commands.append(("HSET", key, ttl, [row.partition, msgspec.json.encode(row)]))
            commands.append(("SADD", client_key(row.client_id, "sources"), ttl, [row.source]))
        self._write(owner, commands, {row.client_id: row.as_of_ms for row in rows})

    def write_counts(self, owner: Owner, rows: Sequence[PartitionCounts]) -> None:
        """Absolute numbers, so that a repeated write changes nothing."""
        fields: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            key = TOTALS if row.client_id is None else client_key(row.client_id, "counts")
            for name, number in row.counts.items():
                fields[key] += [f"{row.topic}/{row.partition}:{name}", number]
        ttl = self._retention.counts_s
        self._write(owner, [("HSET", key, ttl, pairs) for key, pairs in fields.items()], {})

    def beat(self, beat: WorkerBeat) -> None:
        """Tell that a worker lives, and forget those that have not for a day."""

        def send() -> None:
            pipe = self._redis.pipeline(transaction=False)
            ttl = self._retention.worker_s
            pipe.set(worker_key(beat.worker), msgspec.json.encode(beat), ex=ttl)
            pipe.zadd(WORKERS, {beat.worker: beat.at_ms})
            pipe.zremrangebyscore(WORKERS, 0, beat.at_ms - 86_400_000)
            pipe.expire(WORKERS, 86_400)
            pipe.execute()

        patiently(send, self._where, self._patience_s)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _write(self, owner: Owner, commands: list[Command], active: dict[str, int]) -> None:
        """Run commands under the fence, then tell who listens which clients changed."""
        if active:
            pairs = [x for client, as_of_ms in active.items() for x in (as_of_ms, client)]
            ttl = self._retention.counts_s
            steps = range(0, len(pairs), _MOST_ARGUMENTS)
            news = [("ZADD", CLIENTS, ttl, ["GT", *pairs[i : i + _MOST_ARGUMENTS]]) for i in steps]
            commands = [*commands, *news]
        calls: list[Call] = []
        for i in range(0, len(commands), CHUNK):
            arguments: list[Any] = []
            for command, _, ttl, values in commands[i : i + CHUNK]:
                arguments += [command, ttl, len(values), *values]
            keys = [key.encode() for _, key, _, _ in commands[i : i + CHUNK]]
            calls.append((keys, arguments))
        self._run(_COMMANDS, owner, calls)
        if active:
            note = msgspec.json.encode(list(active))
            patiently(
                lambda: self._redis.publish(LIVE_CHANNEL, note), self._where, self._patience_s
            )

    def _run(self, script: str, owner: Owner, calls: Sequence[Call]) -> None:
        for i in range(0, len(calls), PIPELINE):
            group = calls[i : i + PIPELINE]
            patiently(lambda: self._send(script, owner, group), self._where, self._patience_s)  # noqa: B023

    def _send(self, script: str, owner: Owner, calls: Sequence[Call]) -> None:
        """Make the calls with numbers of their own: what is sent again is later than before."""
        fence, seal, ttl = fence_key(owner), seal_key(owner), self._retention.fence_s
        expected = self._seals.expected(owner)
        numbers = [self._seals.next_number(owner) for _ in calls]
        found = self._call(
            script,
            [
                (2 + len(keys), fence, seal, *keys, owner.epoch, ttl, number, expected, *arguments)
                for number, (keys, arguments) in zip(numbers, calls, strict=True)
            ],
        )
        self._seals.note(owner, min(found), numbers[-1])

    def _call(self, script: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        sha = sha1(script.encode(), usedforsecurity=False).hexdigest()
        pipe = self._redis.pipeline(transaction=False)
        for arguments in calls:
            pipe.execute_command("EVALSHA", sha, *arguments)
        try:
            answers: list[Any] = pipe.execute()
        except redis.exceptions.NoScriptError:  # first use, or the server has restarted
            self._redis.script_load(script)
            return self._call(script, calls)
        return answers
