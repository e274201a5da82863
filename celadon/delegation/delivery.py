"""The delivery of one job in one run: what is posted and asked, signed anew each time, and what was heard of it."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from urllib.parse import quote

from celadon import telemetry, tracing
from celadon.delegation import addresses, circuits, client, keys, resolving, signing, status_table, urls
from celadon.delegation.client import Answered, NotConnected, Outcome, Request
from celadon.delegation.entries import Entry, Table
from celadon.delegation.entry import RUN_TIMES
from celadon.delegation.status_table import Verdict
from celadon.errors import Postponed, TargetNotAllowed, Unresolved, UnusableKeys
from celadon.jobs import AnswerView, Claim, RequestView
from celadon.ledger import deliveries
from celadon.ledger.deliveries import Earlier

ASK_S = 10.0  # To say how a job stands takes a look into a store, and no longer.
AROUND_BYTES = 4096  # What an answer to being asked has around a result that the answer to the POST had room for.
# Until another may try an endpoint: what connecting may take, twice over, and to tell the ledger of it.
PROBE_TIMES, PROBE_MORE_S = 2, 5.0
KEYS_AGAIN_S = 30.0  # Whoever mends a missing key restarts the fleet, or puts a file in its place.
TRACE = ("traceparent", "tracestate")


class Delivery:
    """A job on its way to the service that owns its queue.

    attempts_made: tries that failed before this one. in_doubt: whether the service may have the job by now, and nobody
    knows what became of it. The run may take RUN_TIMES times the queue's time-out: one for the job, and one to find out
    what became of it.
    """

    def __init__(self, table: Table, entry: Entry, claim: Claim, earlier: Earlier) -> None:
        self.entry, self.claim, self.attempts_made = entry, claim, earlier.tries
        self.in_doubt = earlier.in_doubt
        self._table = table
        self._until = time.monotonic() + RUN_TIMES * entry.timeout_s
        self._admitted = self._probe = False
        self._telling = threading.Lock()
        self._last: tuple[Request, Outcome, float] | None = None
        self._posted: tuple[Request, Outcome, float] | None = None

    @property
    def left_s(self) -> float:
        """What is left of the run's time."""
        return self._until - time.monotonic()

    def post(self) -> Verdict:
        """Deliver the job. A repeat has the same key, and `attemptsMade` as long as this try has not ended.

        Raises Postponed, LedgerUnavailable.
        """
        told = {
            "jobId": self.claim.job_id,
            "queueName": self.claim.queue,
            "data": self.claim.payload.get("data"),
            "attemptsMade": self.attempts_made,
        }
        body = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
        whole_s = min(self.entry.timeout_s, max(self.left_s, 0.0))
        outcome = self._exchange("POST", "", body, whole_s)
        self._posted = self._last or self._posted
        verdict = status_table.of_post(outcome, self.attempts_made)
        if not isinstance(outcome, NotConnected):  # Else it is as open as it was.
            self.in_doubt = verdict.in_doubt
        self._tell("post", verdict)
        return verdict

    def ask(self) -> Verdict:
        """Ask what has become of the job. Raises Postponed, LedgerUnavailable."""
        path = "/" + quote(self.claim.job_id, safe="")
        whole_s = min(ASK_S, self.entry.timeout_s)
        verdict = status_table.of_question(self._exchange("GET", path, None, whole_s), self.attempts_made)
        self.in_doubt = verdict.in_doubt
        self._tell("ask", verdict)
        return verdict

    def keep(self, why: str) -> None:
        """Keep why it did not succeed, with the last POST and its answer. Raises LedgerUnavailable."""
        last = self._posted or self._last
        if last is None:
            deliveries.keep(self.claim, verdict=why, in_doubt=self.in_doubt)
            return
        request, outcome, seconds = last
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
        deliveries.keep(self.claim, verdict=why, in_doubt=self.in_doubt, seconds=seconds, request=sent, answer=answer)

    def _exchange(self, method: str, behind: str, body: bytes | None, whole_s: float) -> Outcome:
        self._last = None
        entry, age_s = self.entry, self._table.resolver.age.total_seconds()
        try:
            headers = self._headers(body)
        except UnusableKeys as error:
            raise Postponed(KEYS_AGAIN_S, f"it can't be signed: {error}") from error
        try:
            url = urls.parse(resolving.base_url(self._table, entry.service) + entry.path + behind, entry.ports)
            addresses.check(url.host, url.port, entry.networks, age_s=age_s)
        except (Unresolved, TargetNotAllowed) as refused:
            return NotConnected(reason=str(refused), tried=False)
        self._admit()
        request = Request(
            method=method,
            url=url,
            headers=headers,
            body=body,
            connect_s=entry.connect_s,
            first_byte_s=entry.first_byte_s or entry.timeout_s,
            whole_s=whole_s,
            max_answer_bytes=entry.max_answer_bytes + (AROUND_BYTES if method == "GET" else 0),
            networks=entry.networks,
            age_s=age_s,
            # As soon as the elected is connected the others go on: its answer may take as long as the job does.
            connected=self._tell_circuit if self._probe else None,
        )
        began = time.monotonic()
        outcome = client.exchange(request)
        self._last = request, outcome, time.monotonic() - began
        self._tell_circuit(outcome)
        return outcome

    def _admit(self) -> None:
        """Ask the endpoint's circuit for leave, once in a run: only what can be tried may be elected to try.

        Raises Postponed, LedgerUnavailable.
        """
        if not self._admitted:
            probe_s = min(PROBE_TIMES * self.entry.connect_s + PROBE_MORE_S, self.left_s)
            self._probe = circuits.shared.admit(self._table, self.entry, probe_s=probe_s)
            self._admitted = True

    def _tell_circuit(self, outcome: Outcome | None = None) -> None:
        """Tell it what came of the request; None: there is a connection, of which only the elected tells."""
        with self._telling:
            if self._probe or outcome is not None:
                circuits.shared.tell(self._table, self.entry, outcome, probe=self._probe)
            self._probe = False

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
