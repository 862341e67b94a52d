"""Stage B: what each client's labels teach, and whether its data still look as they did.

Comes in: blocks of `ml.examples`. Goes out: learned rows with their predictions, metrics, alerts,
summaries, model states. Invariant: a partition's state is a function of its topic's rows in order,
whatever the blocks, the repeats and the restarts. Limit: per partition, 16 KB of scores, 28 KB of
first rows, 3 KB of lift and 2.7 KB per segment for each client; 512 KB of repeat bits for each
origin and kind.
"""

from sendtide.clients.lift import LiftCounts, LiftSummary, lift_message
from sendtide.clients.outcome import ClientOutcome, ClientSummary, LearnedRows
from sendtide.clients.partition import ClientPartition
from sendtide.clients.settings import ChallengerSettings, ClientSettings

__all__ = [
    "ChallengerSettings",
    "ClientOutcome",
    "ClientPartition",
    "ClientSettings",
    "ClientSummary",
    "LearnedRows",
    "LiftCounts",
    "LiftSummary",
    "lift_message",
]
