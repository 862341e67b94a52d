"""Served models of what a message is made of: recipient records and model states in, columns out.

`subject`: P(open) of a subject line before it is sent, for a recipient, or for a client's
recipients at large; `engaging` if it reaches the pipeline's threshold. `variant`: which of a
campaign's variants to send. Rows of one client, campaign and `decision_id` are one decision: one of
them is `chosen`, drawn with exactly its `propensity`, and written down (`decisions`). The same
decision_id asked of the same model version draws the same variant.

Their states come from the topic `ml.models`, not from Redis; a server that was not told of Kafka
answers 503.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from sendtide.endpoint.answers import TRUST, ContentModels, Question, ServedModel, trust
from sendtide.endpoint.decisions import Decision
from sendtide.endpoint.tensors import Column, OutputTensor
from sendtide.endpoint.web import Refusal
from sendtide.events.creative import MAX_SUBJECT, creative_of
from sendtide.events.hashing import hash_text
from sendtide.events.messages import CONTENT_LIMITS, MAX_IMAGE_SIDE
from sendtide.events.records import RECIPIENT_LAYOUT, RECIPIENT_RECORD, TIERS

__all__ = ["CONTENT_MODELS"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEASURES: Final = {
    "clickable_images": CONTENT_LIMITS["clickable_images"],
    "unclickable_images": CONTENT_LIMITS["unclickable_images"],
    "image_width": MAX_IMAGE_SIDE,
    "image_height": MAX_IMAGE_SIDE,
}


def _models(question: Question) -> ContentModels:
    if question.content is None:
        msg = "this server does not read ml.models; start it with --kafka HOST:PORT"
        raise Refusal(503, msg)
    return question.content


def _subject(question: Question) -> list[OutputTensor]:
    models, records = _models(question), question.records
    subjects = _texts(question.columns, "subject", "")
    base = records["open_probability"].astype(np.float64)
    base[records["layout"] == 0] = np.nan
    try:
        found = models.subject_probability(question.clients, subjects, base)
    except ValueError as error:
        raise Refusal(400, f"input 'subject': {error}") from error
    versions, _ = models.newest(question.clients, "subject")
    records["model_version"] = versions
    return [
        OutputTensor("open_probability", "FP64", found),
        OutputTensor("base_probability", "FP64", base),
        OutputTensor("engaging", "BOOL", found >= question.subject_threshold),
        *trust(question),
    ]


def _variant(question: Question) -> list[OutputTensor]:
    models, n = _models(question), len(question.clients)
    names = _names(question.columns, "variant", n)
    campaigns = _names(question.columns, "campaign_id", n)
    decisions = _texts(question.columns, "decision_id", question.given_id, n)
    variants = _variants(question.columns, names, campaigns)
    decided: dict[tuple[str, str, str], list[int]] = {}
    for i, key in enumerate(zip(question.clients, campaigns, decisions, strict=True)):
        decided.setdefault(key, []).append(i)
    scores, shares, chosen = np.empty(n), np.empty(n), np.zeros(n, np.bool_)
    for key, rows in decided.items():
        if len({names[i] for i in rows}) < len(rows):
            raise Refusal(400, f"a variant stands twice in one decision of {key[0][:80]!r}")
        seed = hash_text("\n".join(key))
        scores[rows], shares[rows], place = models.variant_choice(key[0], variants[rows], seed)
        chosen[rows[place]] = True
    question.records[:] = _known(models, question.clients)
    question.log(
        [
            Decision(
                at_ms=question.now_ms,
                client_id=question.clients[i],
                campaign_id=campaigns[i],
                decision_id=decisions[i],
                variant=names[i],
                propensity=float(shares[i]),
                open_probability=float(scores[i]),
                model_version=int(question.records["model_version"][i]),
            )
            for i in np.flatnonzero(chosen).tolist()
        ]
    )
    scores[question.records["layout"] == 0] = np.nan
    return [
        OutputTensor("open_probability", "FP64", scores),
        OutputTensor("propensity", "FP64", shares),
        OutputTensor("chosen", "BOOL", chosen),
        *trust(question),
    ]


def _known(models: ContentModels, clients: list[str]) -> NDArray[np.void]:
    """Records that say how old and of which version the clients' variant models are."""
    versions, times = models.newest(clients, "variant")
    records = np.zeros(len(clients), RECIPIENT_RECORD)
    records["layout"] = np.where(versions > 0, RECIPIENT_LAYOUT, 0)
    records["tier"] = TIERS.index("client")
    records["model_version"], records["event_time_ms"] = versions, times
    return records


def _texts(columns: Mapping[str, Column], name: str, absent: str, n: int = 0) -> list[str]:
    return cast("list[str]", columns.get(name, [absent] * n))


def _names(columns: Mapping[str, Column], name: str, n: int) -> list[str]:
    """Names as in the events; "" where none is given.

    Raises:
        Refusal: 400; a text that is no name, which no event could have.
    """
    found = _texts(columns, name, "", n)
    wrong = next((text for text in found if text and not _NAME.fullmatch(text)), None)
    if wrong is not None or (name == "variant" and "" in found):
        raise Refusal(400, f"input {name!r} holds {(wrong or '')[:80]!r}, which is no name")
    return found


def _variants(
    columns: Mapping[str, Column], names: list[str], campaigns: list[str]
) -> NDArray[np.void]:
    """CREATIVE rows of the candidates."""
    n = len(names)
    measures = {name: columns.get(name, np.zeros(n, np.int64)) for name in _MEASURES}
    for name, limit in _MEASURES.items():
        column = cast("I64", measures[name])
        if n and not 0 <= column.min() <= column.max() <= limit:
            raise Refusal(400, f"input {name!r} is out of range; allowed: 0 to {limit}")
    augmented = columns.get("augmented")
    angles = _names(columns, "angle", n)
    given: list[dict[str, Any]] = [
        {name: int(column[i]) for name, column in measures.items()} for i in range(n)
    ]
    rows = [
        creative_of(
            variant=names[i],
            campaign=campaigns[i] or None,
            augmented=None if augmented is None else bool(augmented[i]),
            angle=angles[i] or None,
            **given[i],
        )
        for i in range(n)
    ]
    return np.concatenate([*rows, np.zeros(0, creative_of().dtype)])


CONTENT_MODELS: Final = {
    model.name: model
    for model in (
        ServedModel(
            name="subject",
            about=f"whether a subject line (at most {MAX_SUBJECT} characters) makes people open",
            inputs={"client_id": "BYTES", "subject": "BYTES", "recipient_id": "BYTES"},
            needed=("client_id", "subject"),
            outputs={
                "open_probability": "FP64",
                "base_probability": "FP64",
                "engaging": "BOOL",
                **TRUST,
            },
            optional_outputs=frozenset(),
            answer=_subject,
        ),
        ServedModel(
            name="variant",
            about="which declared variant of a campaign to send, drawn with its propensity",
            inputs={
                "client_id": "BYTES",
                "variant": "BYTES",
                "campaign_id": "BYTES",
                "decision_id": "BYTES",
                **dict.fromkeys(_MEASURES, "INT64"),
                "augmented": "BOOL",
                "angle": "BYTES",
            },
            needed=("client_id", "variant"),
            outputs={"open_probability": "FP64", "propensity": "FP64", "chosen": "BOOL", **TRUST},
            optional_outputs=frozenset(),
            answer=_variant,
        ),
    )
}
"""Served beside `answers.MODELS`."""
