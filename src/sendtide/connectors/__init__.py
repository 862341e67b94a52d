"""Doors from outside: files and logs made into records for the input topics.

Comes in: lines, tables, addresses. Goes out: records with the right topic and key; what cannot be
taken, with its line number and what is wrong with it. A log of sends whose columns are somebody
else's becomes batches instead (`mapping`, `history`, `history_events`). Invariant: no raw address
leaves this room, and no line disappears: every one is a record or a reject. Limit: lines of up to
64 KiB.
"""

from sendtide.connectors.files import EventReader, Reading, Reject, RejectFile, Tally
from sendtide.connectors.newsletters import Newsletters
from sendtide.connectors.partitioner import murmur2, partition_of, partitions_of
from sendtide.connectors.pseudonym import BadAddress, Pseudonyms, normalise_address

__all__ = ["BadAddress", "EventReader", "Newsletters", "Pseudonyms", "Reading", "Reject"]
__all__ += ["RejectFile", "Tally", "murmur2", "normalise_address", "partition_of", "partitions_of"]
