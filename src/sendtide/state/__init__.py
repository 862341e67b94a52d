"""What a partition remembers, and how it survives: tables, seen identities, snapshots.

Comes in: keys and columns. Goes out: slots, verdicts, and snapshots tied to offsets.
Invariant: nothing here depends on a clock or on the order of dictionary entries; a snapshot that
fails any check is never used. Limit: 2^31 slots a table, 16 GiB a snapshot.
"""

from sendtide.state.lag_buckets import LAG_BUCKETS, LAG_EDGES_MS, lag_buckets
from sendtide.state.seen import SeenSet
from sendtide.state.signing import signing_key
from sendtide.state.snapshot import Manifest, SnapshotStore

__all__ = ["LAG_BUCKETS", "LAG_EDGES_MS", "Manifest", "SeenSet", "SnapshotStore", "lag_buckets"]
__all__ += ["signing_key"]
