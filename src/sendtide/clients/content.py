"""What labelled sends teach about what they were made of: subjects and variants, per client.

Rows are predicted and learned one by one in the topic's order, so blocks may be cut anywhere. A
subject is learned against the propensity of its recipient, so that its weight is the subject's
effect and not the list's. Most clients tell neither: a model has a row once it learns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.quality import Quality
from sendtide.clients.roster import by_first_appearance, with_rows
from sendtide.models.content_directory import SUBJECT, VARIANT, subject_columns, variant_columns
from sendtide.models.subject import SubjectBank, has_subject
from sendtide.models.variants import VariantBank

__all__ = ["Content"]

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

MODELS: Final = (SUBJECT, VARIANT)
_SUBJECT, _VARIANT = range(len(MODELS))
_VARIANT_TABLES: Final = ("mean", "precision", "keys", "counts", "newest", "learned")
_SUBJECT_TABLES: Final = ("weights", "squares")


class Content:
    """Subject and variant models of a partition's clients.

    place: (clients, 2) row of each client's subject and variant model in its bank, -1 for none;
    clients are rows as in the roster. quality: of predictions made before the label was learned.
    """

    def __init__(self) -> None:
        self.subjects = SubjectBank()
        self.variants = VariantBank()
        self.quality = Quality(len(MODELS))
        self.place: I64 = np.zeros((0, len(MODELS)), np.int64)
        self._count = [0, 0]

    def learn(
        self,
        rows: I32,
        creatives: NDArray[np.void],
        codes: NDArray[np.integer[Any]],
        base_rates: F64,
        opened: NDArray[np.bool_],
    ) -> None:
        """Learn n exposures in order.

        rows: (n,) of clients. creatives: CREATIVE rows of the block. codes: (n,) places among
        them, from 1 on, 0 for none. base_rates: (n,) P(open) whatever the message, NaN unknown.
        """
        if not codes.any():
            return
        codes = codes.astype(np.int64) - 1
        told = np.append(has_subject(creatives), False)[codes] & ~np.isnan(base_rates)
        self._teach(_SUBJECT, rows, creatives, np.where(told, codes, -1), base_rates, opened)
        told = np.append(creatives["variant"] != 0, False)[codes]
        self._teach(_VARIANT, rows, creatives, np.where(told, codes, -1), base_rates, opened)

    def _teach(
        self,
        which: int,
        rows: I32,
        creatives: NDArray[np.void],
        codes: I64,
        base_rates: F64,
        opened: NDArray[np.bool_],
    ) -> None:
        told = np.flatnonzero(codes >= 0)
        if not len(told):
            return
        rows, codes, opened = rows[told], codes[told], opened[told]
        self._place(which, rows)
        own = self.place[rows, which]
        if which == _SUBJECT:
            found = self.subjects.learn(own, creatives, codes, base_rates[told], opened)
        else:
            found = self.variants.learn(own, creatives, codes, opened)
        self.quality.add(rows, which, found, opened)

    def _place(self, which: int, rows: I32) -> None:
        """Give clients without a model one, in order of their first row."""
        self.grow(int(rows.max()) + 1)
        for row in by_first_appearance(rows, len(self.place))[0].tolist():
            if self.place[row, which] < 0:
                self.place[row, which] = self._count[which]
                self._count[which] += 1
        bank = (self.subjects, self.variants)[which]
        bank.grow(self._count[which])

    def grow(self, clients: int) -> None:
        """Have room for so many clients."""
        self.quality.grow(clients)
        before = len(self.place)
        self.place = with_rows(self.place, clients)
        self.place[before:] = -1

    def known(self, row: int) -> Iterator[tuple[str, int, dict[str, NDArray[Any]]]]:
        """Name, labels learned and travelling columns of each of a client's models that has any."""
        subject, variant = self.place[row].tolist() if row < len(self.place) else (-1, -1)
        if subject >= 0:
            columns = subject_columns(self.subjects.weights[subject])
            yield SUBJECT, self.quality.learned(row, _SUBJECT), columns
        if variant >= 0:
            columns = variant_columns(self.variants.model(variant))
            yield VARIANT, self.quality.learned(row, _VARIANT), columns

    def measures(self, row: int, model: str) -> dict[str, Any]:
        """Quality of one of a client's models."""
        return self.quality.measures(row, MODELS.index(model))

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """Copies of all tables, cut to the rows in use."""
        self.grow(clients)
        subjects, variants = self._count
        columns = {f"quality.{n}": c for n, c in self.quality.snapshot(clients).items()}
        columns |= {n: getattr(self.subjects, n)[:subjects].copy() for n in _SUBJECT_TABLES}
        columns |= {n: getattr(self.variants, n)[:variants].copy() for n in _VARIANT_TABLES}
        return {**columns, "place": self.place[:clients].copy()}

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        prefix = "quality."
        own = {n.removeprefix(prefix): c for n, c in columns.items() if n.startswith(prefix)}
        self.quality.restore(own)
        for bank, tables in ((self.subjects, _SUBJECT_TABLES), (self.variants, _VARIANT_TABLES)):
            for name in tables:
                setattr(bank, name, columns[name].copy())
        self.place = columns["place"].copy()
        self._count = [int(self.place[:, which].max(initial=-1)) + 1 for which in range(2)]
