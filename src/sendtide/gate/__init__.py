"""The gate: bytes become column batches, or dead letters that say why.

Comes in: a chunk of one partition's records, in offset order: values, keys, offsets, timestamps.
Goes out: a batch of the rows taken, and a `Refused` for every other record.
Invariants: every record comes out exactly once, as a row or as a refusal; nothing raises whatever
the bytes are; the compiled reader and the authority agree on every record there can be; no clock
is read (a time is "future" against its own record's timestamp), so a replay judges alike.
Limits: records of 64 KiB, objects of 64 names for the compiled reader (more go to the authority),
32 levels of nesting, 14 days of request window.

`scan` finds fields, `fields` and `compiled` check and convert them, `authority` is the rule for
all that is odd, `gate` and `inputs` put both together per topic.
"""

from sendtide.gate.authority import Reason, Refusal
from sendtide.gate.gate import Gate, Refused
from sendtide.gate.inputs import EngagementGate, RequestGate, SendGate

__all__ = [
    "EngagementGate",
    "Gate",
    "Reason",
    "Refusal",
    "Refused",
    "RequestGate",
    "SendGate",
]
