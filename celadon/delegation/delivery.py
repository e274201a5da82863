"""The delivery of one job in one run: what is posted and asked, signed anew each time, and what was heard of it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from urllib.parse import quote

from celadon import telemetry, tracing
from celadon.delegation import circuits, client, keys, resolving, signing, status_table, urls
from celadon.delegation.client import Answered, NotConnected, Outcome, Request
from celadon.delegation.entries import Entry, Table
from celadon.delegation.entry import RUN_TIMES
from celadon.delegation.status_table import Verdict
from celadon.errors import TargetNotAllowed, Unresolved
from celadon.jobs import AnswerView, Claim, RequestView
from celadon.ledger import deliveries

ASK_S = 10.0  # To say how a job stands takes a look into a store, and no longer.
TRACE = ("traceparent", "tracestate")


class Delivery:
    """A job on its way to the service that owns its queue.

    attempts_made: tries that failed before this one. The run may take RUN_TIMES times the queue's time-out: one for the
    job, and one to find out what became of it.
    """

    def __init__(self, table: Table, entry: Entry, claim: Claim, attempts_made: int) -> None:
        self.entry, self.claim, self.attempts_made = entry, claim, attempts_made
        self._table = table
        self._until = time.monotonic() + RUN_TIMES * entry.timeout_s
        self._probe = False
        self._last: tuple[Request, Outcome, float] | None = None

    @property
    def left_s(self) -> float:
        """What is left of the run's time."""
        return self._until - time.monotonic()

    def admit(self) -> None:
        """Ask the endpoint's circuit for leave. Raises Postponed, LedgerUnavailable."""
        self._probe = circuits.shared.admit(self._table, self.entry, probe_s=self.left_s)

    def post(self) -> Verdict:
        """Deliver the job. A repeat has the same key, and `attemptsMade` as long as this try has not ended.

        Raises UnusableKeys.
        """
        told = {
            "jobId": self.claim.job_id,
            "queueName": self.claim.queue,
            "data": self.claim.payload.get("data"),
            "attemptsMade": self.attempts_made,
        }
        body = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
        whole_s = min(self.entry.timeout_s, max(self.left_s, 0.0))
        verdict = status_table.of_post(self._exchange("POST", "", body, whole_s), self.attempts_made)
        self._tell("post", verdict)
        return verdict

    def ask(self) -> Verdict:
        """Ask what has become of the job. Raises UnusableKeys."""
        path = "/" + quote(self.claim.job_id, safe="")
        whole_s = min(ASK_S, self.entry.timeout_s)
        verdict = status_table.of_question(self._exchange("GET", path, None, whole_s), self.attempts_made)
        self._tell("ask", verdict)
        return verdict

    def keep(self, why: str) -> None:
        """Keep the last request and its answer, for whoever looks for why. Raises LedgerUnavailable."""
        if self._last is None:
            return
        request, outcome, seconds = self._last
        answer = None
        if isinstance(outcome, Answered):
            answer = AnswerView(
                status=outcome.status,
                headers=deliveries.masked(outcome.headers),
                body=deliveries.cut(outcome.body),
            )
        sent = RequestView(
            method=request.method,
            url=str(request.url),
            headers=deliveries.masked(request.headers, also=self.entry.headers),
            body=deliveries.cut(request.body or b""),
        )
        deliveries.keep(self.claim, verdict=why, seconds=seconds, request=sent, answer=answer)

    def _exchange(self, method: str, behind: str, body: bytes | None, whole_s: float) -> Outcome:
        self._last = None
        entry, began = self.entry, time.monotonic()
        headers = self._headers(body)
        try:
            base = urls.parse(resolving.base_url(self._table, entry.service) + entry.path + behind, entry.ports)
        except (Unresolved, TargetNotAllowed) as refused:
            outcome: Outcome = NotConnected(reason=str(refused))
        else:
            request = Request(
                method=method,
                url=base,
                headers=headers,
                body=body,
                connect_s=entry.connect_s,
                first_byte_s=entry.first_byte_s or entry.timeout_s,
                whole_s=whole_s,
                max_answer_bytes=entry.max_answer_bytes,
                networks=entry.networks,
                age_s=self._table.resolver.age.total_seconds(),
            )
            outcome = client.exchange(request)
            self._last = request, outcome, time.monotonic() - began
        circuits.shared.tell(self._table, entry, outcome, probe=self._probe)
        self._probe = False
        return outcome

    def _headers(self, body: bytes | None) -> dict[str, str]:
        trace = tracing.current() or self.claim.trace or {}
        signed = signing.headers(self.claim.job_id, body or b"", keys.keys_of(self.entry.keys), datetime.now(UTC))
        return {
            **self.entry.headers,
            "Accept": "application/json",
            **({"Content-Type": "application/json"} if body is not None else {}),
            "Idempotency-Key": self.claim.job_id,
            **{name: trace[name] for name in TRACE if name in trace},
            **signed,
        }

    def _tell(self, what: str, verdict: Verdict) -> None:
        seconds, status = 0.0, None
        if self._last is not None:
            _, outcome, seconds = self._last
            status = outcome.status if isinstance(outcome, Answered) else None
        telemetry.delivered(
            self.claim.queue, self.entry.service, what, verdict.becomes.name.lower(), seconds, status, verdict.why
        )
