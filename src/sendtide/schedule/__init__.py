"""When each of many messages goes out, under rules about people, providers and addresses.

Comes in: requests as columns with their P(open) by hour of the week, what was sent before, rules.
Goes out: a time for every request, and for each that could not keep all rules the names of those
that gave way.
Invariants: no request is dropped; no rule is broken without its name; the same input gives the same
schedule. Limit: a horizon of 62 days, one moment per request and hour.

`optimum`, which solves small cases exactly for comparison, is imported by its own name.
"""

from sendtide.schedule.problem import REASONS, RELAX_ORDER, Constraints, Requests, Sent
from sendtide.schedule.solve import Schedule, solve

__all__ = ["REASONS", "RELAX_ORDER", "Constraints", "Requests", "Schedule", "Sent", "solve"]
