"""What simulated people and machines call themselves when they open and click."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["AGENTS", "agent_of"]

I64 = NDArray[np.int64]

_BROWSERS: Final = (
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Mobile/15E148"
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/138.0.0.0 Safari/537.36"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0",
)
_PROXIES: Final = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
)
_MACHINES: Final = (
    "Mozilla/5.0",  # Apple's Mail Privacy Protection
    "Barracuda Sentinel (EE)",
    "python-requests/2.32.4",
    _BROWSERS[1],  # in disguise
)
AGENTS: Final = (*_BROWSERS, *_PROXIES, *_MACHINES)
"""Texts; an agent is its place here."""


def agent_of(recipient: I64, *, machine: bool = False, click: bool = False) -> I64:
    """Each recipient's agent, the same for good; a person opens through a proxy, clicks without."""
    if machine:
        return len(AGENTS) - 1 - recipient % len(_MACHINES)
    return recipient % (len(_BROWSERS) if click else len(_BROWSERS) + len(_PROXIES))
