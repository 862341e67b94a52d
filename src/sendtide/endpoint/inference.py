"""One inference request from bytes to bytes: decode, look up the live state, answer, encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from sendtide.endpoint.access import Grant
from sendtide.endpoint.answers import ContentModels, Question, ServedModel, windows, zone_codes
from sendtide.endpoint.control import ControlGroup
from sendtide.endpoint.decisions import Decision
from sendtide.endpoint.explaining import explained
from sendtide.endpoint.fallback import ClientFallback
from sendtide.endpoint.tensors import (
    Column,
    InferRequest,
    OutputTensor,
    decode_request,
    encode_outputs,
    read_inputs,
)
from sendtide.endpoint.web import Refusal
from sendtide.events.errors import ConfigurationError
from sendtide.events.records import RECIPIENT_RECORD
from sendtide.sinks import Reader

__all__ = ["Inference", "Inferrer"]

DEFAULT_STALE_AFTER_S: Final = 7 * 86_400.0
LIMIT_ROWS: Final = 10_000
SUBJECT_THRESHOLD: Final = 0.2
"""P(open) from which a subject is called engaging; the pipeline file's default."""
CONTROL: Final = ControlGroup()
"""As the pipeline file's defaults."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Inference:
    """An encoded answer. json_bytes: length of its JSON part if raw tensors follow, else None."""

    body: bytes
    json_bytes: int | None
    rows: int


class Inferrer:
    """Answers from live state; blocks while it reads, so run it in a thread. Thread-safe."""

    def __init__(
        self,
        reader: Reader,
        *,
        stale_after_s: float = DEFAULT_STALE_AFTER_S,
        limit_rows: int = LIMIT_ROWS,
        content: ContentModels | None = None,
        subject_threshold: float = SUBJECT_THRESHOLD,
        control: ControlGroup = CONTROL,
        log: Callable[[Sequence[Decision]], None] = lambda _: None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._reader = reader
        self._fallback = ClientFallback(reader)
        self._stale_after_s = stale_after_s
        self._limit_rows = limit_rows
        self._now_ms = now_ms
        self._content = content
        self._subject_threshold = subject_threshold
        self._control = control
        self._log = log

    def infer(
        self, model: ServedModel, body: bytes, json_bytes: int | None, grant: Grant, given_id: str
    ) -> Inference:
        """Answer one request.

        Raises:
            Refusal: 400, 403, 413 with a sentence that says what to change.
            Unavailable: the store does not answer.
        """
        request, raw = decode_request(body, json_bytes)
        columns, rows = read_inputs(request, raw, model.inputs, self._limit_rows)
        wanted = _wanted(request, model)
        question = self._question(model, columns, rows, grant, request.id or given_id)
        outputs = model.answer(question)
        if request.parameters.get("explain") is True:
            usual, clients = len(outputs), cast("list[str]", columns["client_id"])
            outputs = explained(self._reader, model, clients, question, outputs)
            every = request.parameters.get("binary_data_output") is True
            wanted |= {output.name: every for output in outputs[usual:]}
        entries, tail = encode_outputs([x for x in outputs if x.name in wanted], wanted)
        answer = {
            "model_name": model.name,
            "model_version": str(int(question.records["model_version"].max(initial=0))),
            "id": request.id or given_id,
            "parameters": _about(outputs, question),
            "outputs": entries,
        }
        head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return Inference(head + tail, len(head) if tail else None, rows)

    def _question(
        self, model: ServedModel, columns: dict[str, Column], rows: int, grant: Grant, given_id: str
    ) -> Question:
        if not set(model.needed) <= columns.keys():
            wanted = " and ".join(model.needed)
            raise Refusal(400, f"the inputs {wanted} (BYTES, [n]) are needed")
        clients = cast("list[str]", columns["client_id"])
        grant.check(clients)
        now_ms = self._now_ms()
        start, end = windows(
            cast("NDArray[np.int64] | None", columns.get("window_start_ms")),
            cast("NDArray[np.int64] | None", columns.get("window_end_ms")),
            rows,
            now_ms,
        )
        zone = zone_codes(cast("list[str] | None", columns.get("timezone")), rows)
        try:
            records = self._records(clients, cast("list[str] | None", columns.get("recipient_id")))
        except ConfigurationError as error:
            raise Refusal(400, str(error)) from error
        return Question(
            clients=clients,
            columns=columns,
            records=records,
            window_start_ms=start,
            window_end_ms=end,
            zone=zone,
            now_ms=now_ms,
            stale_after_s=self._stale_after_s,
            given_id=given_id,
            content=self._content,
            subject_threshold=self._subject_threshold,
            control=self._control,
            log=self._log,
        )

    def _records(self, clients: list[str], recipients: list[str] | None) -> NDArray[np.void]:
        """Records of the recipients; of their clients where there are none, or nobody is named."""
        if recipients is None:
            return self._fallback.fill(clients, np.zeros(len(clients), RECIPIENT_RECORD)).copy()
        return self._fallback.fill(clients, self._reader.records(clients, recipients)).copy()


def _wanted(request: InferRequest, model: ServedModel) -> dict[str, bool]:
    """Names of the outputs to send, and whether each goes as raw bytes."""
    every = request.parameters.get("binary_data_output") is True
    if not request.outputs:
        return {name: every for name in model.outputs if name not in model.optional_outputs}
    wanted: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in model.outputs:
            allowed = ", ".join(model.outputs)
            raise Refusal(400, f"output {output.name[:80]!r} is unknown; allowed: {allowed}")
        wanted[output.name] = output.parameters.get("binary_data", every) is True
    return wanted


def _about(outputs: list[OutputTensor], question: Question) -> dict[str, Any]:
    """The answer's own freshness, whichever outputs were asked for."""
    columns = {output.name: output.values for output in outputs}
    known = question.records["layout"] != 0
    newest = int(question.records["event_time_ms"][known].max(initial=0))
    return {
        "newest_event_ms": newest or None,
        "age_s": max(0.0, (question.now_ms - newest) / 1000) if newest else None,
        "stale_rows": int(np.count_nonzero(columns["stale"])),
        "unknown_rows": int(np.count_nonzero(~known)),
    }
