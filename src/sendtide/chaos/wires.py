"""Faults between workers and servers, and of the servers themselves."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Final

from sendtide.chaos.proxy import FaultProxy
from sendtide.chaos.toxics import Bandwidth, Latency, LimitData, Slicer, SlowClose, Timeout, Toxic
from sendtide.chaos.trial import Trial

__all__ = ["broker_paused", "broker_restart", "kafka_away_at_start", "kafka_closed_late"]
__all__ += ["kafka_wire", "redis_flushed", "redis_flushed_at_rest"]
__all__ += ["redis_full", "redis_killed", "redis_paused", "redis_read_only", "redis_rolled_back"]
__all__ += ["redis_wire", "wire_down"]

_FAULT_S: Final = 5.0
_TOTALS: Final = "sendtide:1:totals"
_COPY: Final = """
local copy = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  table.insert(copy, key)
  table.insert(copy, redis.call('DUMP', key))
end
return copy
"""
"""Everything as it stood at one moment, as a replica has it: one key after another, while workers
write, would give a seal newer than what it seals, which no failover does."""


def _under_way(trial: Trial) -> None:
    trial.worker()
    trial.start_load()
    trial.wait_share(0.25)
    trial.note_in_flight()


def _toxic(trial: Trial, proxy: FaultProxy, toxic: Toxic | None) -> None:
    """Switch on for a while and off; without a toxic, reset all connections again and again."""
    before = proxy.fired.copy()
    if toxic is not None:
        proxy.add("fault", toxic)
    deadline, cut = time.monotonic() + _FAULT_S, 0
    while time.monotonic() < deadline:
        cut += proxy.cut() if toxic is None else 0
        trial.note_in_flight()
        time.sleep(0.5)
    proxy.clear()
    trial.fired = cut > 0 or bool(proxy.fired - before)
    trial.healed()


def kafka_wire(toxic: Toxic | None) -> Callable[[Trial], None]:
    """A toxic between workers and Kafka while records flow."""

    def act(trial: Trial) -> None:
        _under_way(trial)
        _toxic(trial, trial.stand.kafka_proxy, toxic)

    act.__doc__ = f"{toxic or 'Resets of every connection'} on the way to Kafka."
    return act


def redis_wire(toxic: Toxic | None) -> Callable[[Trial], None]:
    """A toxic between workers and Redis while records flow."""

    def act(trial: Trial) -> None:
        _under_way(trial)
        _toxic(trial, trial.stand.redis_proxy, toxic)

    act.__doc__ = f"{toxic or 'Resets of every connection'} on the way to Redis."
    return act


def wire_down(server: str) -> Callable[[Trial], None]:
    """Connections refused for a while."""

    def act(trial: Trial) -> None:
        _under_way(trial)
        stand = trial.stand
        proxy = stand.kafka_proxy if server == "kafka" else stand.redis_proxy
        before = proxy.fired["down"]
        proxy.down()
        time.sleep(2 * _FAULT_S)
        proxy.up()
        trial.fired = proxy.fired["down"] > before
        trial.healed()

    act.__doc__ = f"{server} refuses connections for {2 * _FAULT_S:.0f} s."
    return act


def kafka_closed_late(trial: Trial) -> None:
    """The broker learns late that the connections of a killed worker have ended."""
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.25)
    proxy = trial.stand.kafka_proxy
    before = proxy.fired["SlowClose"]
    proxy.add("fault", CLOSED_LATE)
    trial.kill(worker)
    trial.worker()
    trial.wait("the late end", lambda: proxy.fired["SlowClose"] > before)
    time.sleep(CLOSED_LATE.delay_ms / 1000)
    proxy.clear()
    trial.healed()


def kafka_away_at_start(trial: Trial) -> None:
    """A worker starts while Kafka does not answer; it may end with 3 and is started again."""
    proxy = trial.stand.kafka_proxy
    trial.start_load()
    proxy.add("silent", Timeout())
    early = trial.worker()
    trial.wait("an end or a fault", lambda: not early.running or proxy.fired["Timeout"] > 0)
    trial.note_in_flight()
    time.sleep(_FAULT_S)
    trial.fired = proxy.fired["Timeout"] > 0
    proxy.clear()
    trial.wait("its end", lambda: not early.running, 30.0)
    if early.process.returncode != 3:
        trial.notes.append(f"ended with {early.process.returncode}, not 3")
    trial.healed()
    trial.worker()


def broker_restart(trial: Trial) -> None:
    """Kafka killed and started again on its data."""
    _under_way(trial)
    before = trial.stand.broker.process.pid
    trial.stand.restart_broker()
    trial.fired = trial.stand.broker.process.pid != before
    trial.healed()


def broker_paused(trial: Trial) -> None:
    """Kafka stands still for longer than a session, then goes on."""
    _under_way(trial)
    process = trial.stand.broker.process
    process.send_signal(signal.SIGSTOP)
    time.sleep(2 * _FAULT_S)
    process.send_signal(signal.SIGCONT)
    trial.fired = True
    trial.healed()


def redis_killed(trial: Trial) -> None:
    """Redis killed; an empty one comes back."""
    _under_way(trial)
    before = trial.stand.store.info("server")["run_id"]
    trial.watch.forget_redis()
    trial.stand.kill_redis()
    time.sleep(_FAULT_S)
    trial.stand.start_redis_again()
    trial.fired = trial.stand.store.info("server")["run_id"] != before
    trial.watch.forget_redis()
    trial.healed()


def redis_flushed(trial: Trial) -> None:
    """Everything in Redis removed while records flow."""
    _under_way(trial)
    _flush(trial)


def _flush(trial: Trial) -> None:
    trial.watch.forget_redis()
    before = trial.stand.store.dbsize()
    trial.stand.store.flushall()
    trial.fired = before > 0
    trial.healed()


def redis_flushed_at_rest(trial: Trial) -> None:
    """Everything in Redis removed once all is taken in: no event will ever write it again."""
    _under_way(trial)
    trial.load.finish()
    trial.wait("lag 0", lambda: trial.taken_in() >= len(trial.load.acked))
    _flush(trial)


def redis_rolled_back(trial: Trial) -> None:
    """Redis goes back to a copy of a moment before, as after a failover."""
    _under_way(trial)
    store = trial.stand.store
    copy = store.eval(_COPY, 0)
    copied = trial.taken_in()
    trial.wait("more records", lambda: trial.taken_in() > copied)
    trial.watch.forget_redis()
    pipe = store.pipeline()
    pipe.hgetall(_TOTALS)
    pipe.flushall()
    for key, value in zip(copy[::2], copy[1::2], strict=True):
        pipe.restore(key, 0, value)
    pipe.hgetall(_TOTALS)
    before, *_, after = pipe.execute()
    trial.fired = before != after
    trial.healed()


def redis_full(trial: Trial) -> None:
    """Redis refuses writes for want of memory."""
    _under_way(trial)
    store = trial.stand.store
    store.config_set("maxmemory", "1mb")
    before = store.info("stats")["total_error_replies"]
    time.sleep(_FAULT_S)
    trial.note_in_flight()
    trial.fired = store.info("stats")["total_error_replies"] > before
    store.config_set("maxmemory", "0")
    trial.healed()


def redis_read_only(trial: Trial) -> None:
    """Redis becomes a replica of nobody: writes are refused."""
    _under_way(trial)
    store = trial.stand.store
    before = store.info("stats")["total_error_replies"]
    # A replica whose primary cannot be reached keeps its data and refuses writes.
    store.execute_command("REPLICAOF", "127.0.0.1", "1")
    time.sleep(_FAULT_S)
    trial.note_in_flight()
    trial.fired = store.info("stats")["total_error_replies"] > before
    store.execute_command("REPLICAOF", "NO", "ONE")
    trial.healed()


def redis_paused(trial: Trial) -> None:
    """Redis answers nobody for longer than a worker is patient."""
    _under_way(trial)
    process = trial.stand.redis.process
    process.send_signal(signal.SIGSTOP)
    time.sleep(2 * _FAULT_S)
    process.send_signal(signal.SIGCONT)
    trial.fired = True
    trial.note_in_flight()
    trial.healed()


SLOW: Final = Latency(latency_ms=400, jitter_ms=100)
NARROW: Final = Bandwidth(rate_kb_s=300)
SLICED: Final = Slicer(average_size=512, size_variation=256, delay_us=100)
LIMITED: Final = LimitData(bytes=100_000)
LIMITED_WRITES: Final = LimitData(stream="upstream", bytes=100_000)
"""For Redis, whose answers are a few bytes each."""
STALLED: Final = Timeout(timeout_ms=1_000)
CLOSED_LATE: Final = SlowClose(stream="upstream", delay_ms=1_500)
