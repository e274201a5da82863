"""Every call of the client as a flow: what is asked for, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict
from urllib.parse import quote, urlsplit

from celadon.client.bodies import (
    DelegateOptions,
    NewJob,
    Options,
    body_of,
    encoded,
    explain,
    key_of,
    new_key,
    parts,
    sendable,
    text,
)
from celadon.client.errors import ApiError, InvalidRequest, KeyConflict, UnknownQueue
from celadon.client.exchange import Policy, exchange
from celadon.client.flow import Answer, Flow, Found, Open, Pause, Read, Request, Send
from celadon.client.stream import Parser
from celadon.client.values import (
    Gate,
    Kind,
    Receipt,
    Schedule,
    job_of,
    listed,
    results_of,
    stranger,
    told,
    value_of,
)
from celadon.errors import InvalidOption
from celadon.jobs import JobSummary, JobView
from celadon.times import instant, seconds

LONGEST_WAIT_S = 25.0  # Of one request: the API and common proxies end it at 30 s.
SILENCE_S = 20.0  # A stream says something every 10 s.
LOOK_AGAIN_S = 1.0  # When the API could not let a request wait, for as many as may were waiting already.
COME_BACK_S, SOONEST_S = 1.0, 0.1  # After a stream that ended, unless the server says otherwise; and at the earliest.


class Filters(TypedDict, total=False):
    """Which jobs to list."""

    state: str | Sequence[str] | None
    name: str | None
    queue: str | None
    tenant: str | None
    created_after: datetime | None
    created_before: datetime | None
    error: str | None  # The fingerprint that failures of one cause share.


class Calls:
    """The calls to one server under one key."""

    def __init__(self, base_url: str, key: str, policy: Policy) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.netloc or address.query or address.fragment:
            raise InvalidOption(f"base_url={base_url!r}: give http(s)://HOST, as in https://jobs.example.com")
        if "@" in address.netloc:
            raise InvalidOption(
                "base_url: names a user, who would be sent in the key's place; leave out USER:PASSWORD@"
            )
        if not key or not key.isascii() or not key.isprintable():
            raise InvalidOption("key: give the text that `celadon keys create` printed")
        self._api = f"{base_url.rstrip('/')}/api"
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._policy = policy

    # --- submitting

    def submit(self, name: str, payload: Mapping[str, Any], options: Options) -> Flow[Receipt]:
        job: NewJob = {**options, "name": name, "payload": payload}
        key = key_of(job, new_key())
        try:
            return value_of(Receipt, (yield from self._ask("POST", "/jobs", body=body_of(job, key))))
        except ApiError as error:
            error.idempotency_key = key
            explain(error, job, key)
            raise

    def delegate(self, queue: str, data: Any, options: DelegateOptions) -> Flow[Receipt]:
        key = options.get("key")
        key = new_key() if key is None else key
        try:
            body = body_of({**options, "data": data}, key)
            return value_of(Receipt, (yield from self._ask("POST", _at("queues", queue, "jobs"), body=body)))
        except ApiError as error:
            error.idempotency_key = key
            if isinstance(error, KeyConflict):
                error.key = key
            elif isinstance(error, UnknownQueue):
                error.queue = queue
            raise

    def submit_many(self, jobs: Iterable[NewJob], key: str | None) -> Flow[list[Receipt | ApiError]]:
        """In parts of what one request takes, under keys that are the same when the whole is repeated."""
        key = new_key() if key is None else key
        given = list(jobs)
        keys = [key_of(job, f"{key}:{number}") for number, job in enumerate(given)]
        bodies: dict[int, bytes] = {}
        results: dict[int, Receipt | ApiError] = {}
        # All before the first request, so that what can't be sent stops nothing half-way.
        for number, job in enumerate(given):
            try:
                bodies[number] = body_of(job, keys[number])
            except InvalidRequest as error:
                results[number] = error
        sent = False
        for part in parts(bodies):
            body = b'{"jobs":[' + b",".join(bodies[number] for number in part) + b"]}"
            try:
                answer = yield from self._ask("POST", "/jobs/bulk", body=body)
                results |= zip(part, results_of(answer, len(part)), strict=True)
            except ApiError as error:
                error.idempotency_key = key
                error.in_doubt = error.in_doubt or sent
                raise
            sent = True
        for number, result in results.items():
            if isinstance(result, ApiError):
                explain(result, given[number], keys[number])
        return [results[number] for number in range(len(given))]

    # --- asking

    def job(self, job_id: str, *, payload: bool = False) -> Flow[JobView]:
        return job_of((yield from self._ask("GET", _at("jobs", job_id), {"include": "payload"} if payload else {})))

    def wait(self, job_id: str, limit_s: float) -> Flow[JobView]:
        with sendable():
            until = self._policy.now() + (seconds("seconds", limit_s) or 0.0)
        while True:
            began = self._policy.now()
            asked_s = min(max(until - began, 0.0), LONGEST_WAIT_S)
            job = job_of((yield from self._ask("GET", _at("jobs", job_id), wait_s=asked_s)))
            now = self._policy.now()
            if job.finished or now >= until:
                return job
            if now - began < asked_s / 2:
                yield Pause(min(LOOK_AGAIN_S, until - now))

    def jobs(self, filters: Filters, page_size: int) -> Flow[None]:
        given = dict(filters)
        with sendable():
            for name in ("created_after", "created_before"):
                given[name] = text(instant(name, filters.get(name)))  # type: ignore[arg-type]
        params = {name: value for name, value in given.items() if value is not None} | {"limit": page_size}
        while True:
            page = yield from self._ask("GET", "/jobs", params)
            for facts in listed(page, "jobs"):
                yield Found(value_of(JobSummary, facts))
            if not page.get("next"):
                return
            params["after"] = page["next"]

    def events(self, job_id: str) -> Flow[None]:
        seen: str | None = None
        come_back_s = COME_BACK_S
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": seen} if seen else {})}
            path = f"{_at('jobs', job_id)}/events"
            answer = yield from self._exchange("GET", path, headers=headers, silent_s=SILENCE_S, step=Open)
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise stranger("no stream of events")
            parser = Parser()
            while isinstance(piece := (yield Read()), bytes):
                for event in parser.feed(piece):
                    yield Found(job_of(told(event.data)))
                    if event.name == "end":
                        return
            seen = parser.last_id or seen
            come_back_s = come_back_s if parser.retry_s is None else max(parser.retry_s, SOONEST_S)
            yield Pause(come_back_s)

    # --- operating

    def act(self, job_id: str, action: str, body: bytes | None = None) -> Flow[JobView]:
        # Between two tries the job may run and be where it was: a second one would run it again.
        once = action != "cancel"
        return job_of((yield from self._ask("POST", f"{_at('jobs', job_id)}/{action}", body=body, once=once)))

    def reschedule(self, job_id: str, run_at: datetime | None, delay: timedelta | float | None) -> Flow[JobView]:
        if (run_at is None) == (delay is None):
            raise InvalidRequest("say when the job is due: either run_at or delay")
        with sendable():
            when = {"run_at": text(instant("run_at", run_at)), "delay_s": seconds("delay", delay)}
            return self.act(job_id, "reschedule", encoded(when))

    # --- schedules, limits, pauses

    def schedules(self) -> Flow[list[Schedule]]:
        told = yield from self._ask("GET", "/schedules")
        return [value_of(Schedule, each) for each in listed(told, "schedules")]

    def turn_schedule(self, name: str, action: str, facts: Mapping[str, Any] | None = None) -> Flow[Schedule]:
        body = None if facts is None else encoded(facts)
        return value_of(Schedule, (yield from self._ask("POST", _at("schedules", name, action), body=body)))

    def gates(self, which: str) -> Flow[list[Gate]]:
        told = yield from self._ask("GET", f"/{which}")
        return [value_of(Gate, each) for each in listed(told, which)]

    def pause(
        self, kind: Kind, name: str, reason: str | None, until: datetime | None, lasts: timedelta | float | None
    ) -> Flow[Gate]:
        with sendable():
            when = {"until": text(instant("until", until)), "for_s": seconds("lasts", lasts)}
            body = encoded({"reason": reason, **when})
        return value_of(Gate, (yield from self._ask("PUT", _at("pauses", kind, name), body=body)))

    def resume(self, kind: Kind, name: str) -> Flow[Gate]:
        return value_of(Gate, (yield from self._ask("DELETE", _at("pauses", kind, name))))

    def _ask(self, method: str, path: str, params: Mapping[str, Any] | None = None, **how: Any) -> Flow[Any]:
        """Ask, and come to the JSON object of the answer."""
        answer = yield from self._exchange(method, path, params or {}, **how)
        return told(answer.content)

    def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        step: type[Send] | type[Open] = Send,
        **how: Any,
    ) -> Flow[Answer]:
        request = Request(
            method=method,
            url=self._api + path,
            params=params or {},
            headers={**self._headers, **(headers or {})},
            **how,
        )
        return exchange(request, self._policy, step)


def _at(*parts: str) -> str:
    """An address below that of the API."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)
