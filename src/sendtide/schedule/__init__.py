"""When each of many messages goes out, under rules about people, providers and addresses.

Comes in: requests as columns with their P(open) by hour of the week, what was sent before, rules.
Goes out: a time for every request, and for each that could not keep all rules the names of those
that gave way.
Invariants: no request is dropped; no rule is broken without its name; the same input gives the same
schedule. Limits: a horizon of 62 days; one moment per request and hour; where caps tie several
messages to one person together and not all can keep the rules, a request more than needed may give
way (`sendtide schedule --check` counts how often); beyond 60,000 requests there are no exchanges.

`optimum`, which solves small cases exactly for comparison, is imported by its own name.
"""

from sendtide.schedule.control import solve_beside_control
from sendtide.schedule.problem import REASONS, RELAX_ORDER, Constraints, Requests, Sent
from sendtide.schedule.solve import Schedule, solve

__all__ = ["REASONS", "RELAX_ORDER", "Constraints", "Requests", "Schedule", "Sent", "solve"]
__all__ += ["solve_beside_control"]
