"""Which opens and clicks a machine says of itself that it made, by the user agent of the request.

What fetches a message's images or tries its links on its own often says so:

- a mailbox provider's prefetch, whether or not the message is ever read: Apple's Mail Privacy
  Protection is "Mozilla/5.0" and nothing else (mailgun.com, "bot detection"), Gmail's while a
  mailbox stands open is one browser of 2015 with a second "Mozilla/5.0" behind it (bird.com,
  "gmail prefetching images")
- a security scanner by its maker's name, as "Barracuda Sentinel (EE)"
- any other robot or library of the list `crawler-user-agents` keeps

The image proxies of Gmail and Yahoo fetch when a person opens the message, and are on that list:
what comes through them is a person's (warmbly/warmbly#412). That an agent looks like a browser's
says nothing: most scanners disguise themselves; see `recipients.machines` for what finds those.
The text is read here and kept nowhere: all that goes on is whether it was a machine.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from crawleruseragents import is_crawler
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import find_slot

__all__ = ["AgentBook", "is_machine"]

_PREFETCHES: Final = frozenset(
    {
        "Mozilla/5.0",
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
        ),
    }
)
_PROXIES: Final = re.compile("GoogleImageProxy|YahooMailProxy")
_SCANNERS: Final = re.compile(
    "barracuda|mimecast|proofpoint|forcepoint|ironport|cloudmark|trend ?micro|symantec|sophos"
    "|mcafee|fireeye|trellix|messagelabs|mailguard|vadesecure|spamhaus|hornetsecurity|avanan",
    re.IGNORECASE,
)
_REMEMBERED: Final = 1 << 15
"""Distinct agents whose judgement is kept; one costs about 0.3 ms."""


@lru_cache(_REMEMBERED)
def is_machine(user_agent: str) -> bool:
    """Whether no person made the request; False for whatever says nothing, as an empty text."""
    told = user_agent.strip()
    if told in _PREFETCHES or _SCANNERS.search(told):
        return True
    return _PROXIES.search(told) is None and bool(is_crawler(told))


@njit(cache=True)
def _mark(agents: Any, machines: Any, code: Any, out: Any) -> None:
    for row in range(len(agents)):
        agent = agents[row]
        if agent != np.uint64(0) and machines[find_slot(machines, agent)] == agent:
            out[row] = code


class AgentBook:
    """Judges each distinct agent once; a compiled loop then marks the rows."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: agents are of any number, this table is not."""
        self._machines = np.zeros(256, np.uint64)
        self._known, self._held = 0, 0

    @property
    def is_full(self) -> bool:
        """Whether so many were met that it is better to `forget` them."""
        return self._known >= _REMEMBERED

    def learn(self, code: int, spelling: str) -> None:
        """Judge an agent by its text as it stands in JSON, and keep that under its hash."""
        self._known += 1
        text = msgspec.json.decode(f'"{spelling}"'.encode()) if "\\" in spelling else spelling
        if is_machine(text):
            self._add(np.uint64(code))

    def _add(self, code: np.uint64) -> None:
        self._held += 1
        if 2 * self._held > len(self._machines):
            old = self._machines
            self._machines = np.zeros(2 * len(old), np.uint64)
            for kept in old[old != 0]:
                self._machines[find_slot(self._machines, kept)] = kept
        self._machines[find_slot(self._machines, code)] = code

    def mark(self, agents: NDArray[np.uint64], code: int, out: NDArray[np.uint8]) -> None:
        """Write `code` into the rows of `out`, (n,), whose agent, by hash, is a machine's."""
        _mark(agents, self._machines, code, out)
