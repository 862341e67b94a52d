"""One HTTP endpoint for every model of every client: the Open Inference Protocol v2.

Comes in: inference requests as JSON or raw tensors. Goes out: answers from live state, read
through `sinks.Reader`; each names its model version, its newest event and its age.
Invariant: an expired or unknown value says so (`stale`, tier `unknown`), it is never silent.
Limits: 1 MiB a body, 10,000 rows a request, 64 requests waiting; beyond loopback only with keys.
"""

from sendtide.endpoint.access import GRANT, Grant, Guard, Keys, new_key
from sendtide.endpoint.app import Endpoint
from sendtide.endpoint.control import ControlGroup
from sendtide.endpoint.decisions import DecisionLog
from sendtide.endpoint.inference import Inferrer
from sendtide.endpoint.server import Mount, background, build, make_server, serve

__all__ = [
    "GRANT",
    "ControlGroup",
    "DecisionLog",
    "Endpoint",
    "Grant",
    "Guard",
    "Inferrer",
    "Keys",
    "Mount",
    "background",
    "build",
    "make_server",
    "new_key",
    "serve",
]
