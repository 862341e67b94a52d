"""One page over what the sinks hold: live numbers, models, hours, the phases of a model's life.

Comes in: the read model (`sinks.Reader`) and HTTP requests let through by the endpoint's guard.
Goes out: a static page that loads nothing from elsewhere, and JSON it polls once a second.
Invariant: a number on the page was in the store at the time shown, or the page says it is not.
Limit: the 100 clients written last; two minutes of history, in memory.
"""

from sendtide.dashboard.app import Dashboard

__all__ = ["Dashboard"]
