"""Stage A's logic: what a recipient was sent and did with it, joined, labelled and scored.

Comes in: accepted batches of the three input topics. Goes out: a bucket for every row, example
rows (exposures, labels), records and answers.
Invariant: the state is a function of the consumed prefix of each topic, whatever the interleaving,
the chunk sizes and the restarts between. Limit: counts by three hours of the day stop at
255 in half a year.
"""

from sendtide.recipients.blocks import blocks
from sendtide.recipients.outcome import Outcome
from sendtide.recipients.partition import RecipientPartition
from sendtide.recipients.persistence import digest, restore, snapshot
from sendtide.recipients.scoring import Scorer, answers, records
from sendtide.recipients.settings import JoinSettings, PolicySettings

__all__ = [
    "JoinSettings",
    "Outcome",
    "PolicySettings",
    "RecipientPartition",
    "Scorer",
    "answers",
    "blocks",
    "digest",
    "records",
    "restore",
    "snapshot",
]
