"""Every call of the client as a flow: what is asked for, and what is made of the answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Required, TypedDict
from urllib.parse import quote, urlsplit

from celadon.client.errors import ApiError
from celadon.client.exchange import Policy, exchange
from celadon.client.flow import Answer, Flow, Found, Open, Pause, Read, Request, Send
from celadon.client.stream import Parser
from celadon.client.values import Receipt, job_of, listed, result_of, told, value_of
from celadon.errors import InvalidOption
from celadon.jobs import JobSummary, JobView
from celadon.times import instant, seconds

MOST_JOBS = 1000  # That the API takes in one request.
LONGEST_WAIT_S = 25.0  # Of one request: the API and common proxies end it at 30 s.
SILENCE_S = 20.0  # A stream says something every 10 s.
LOOK_AGAIN_S = 1.0  # When the API could not let a request wait, for as many as may were waiting already.
COME_BACK_S, SOONEST_S = 1.0, 0.1  # After a stream that ended, unless the server says otherwise; and at the earliest.


class Options(TypedDict, total=False):
    """The options of a submission; they mean what they mean to `celadon.submit`."""

    key: str | None
    run_at: datetime | None
    delay: timedelta | float | None
    expires_in: timedelta | float | None
    queue: str | None
    priority: int | None
    tenant: str | None
    confirm: bool | None


class NewJob(Options):
    """One of many submissions."""

    name: Required[str]
    payload: Required[Mapping[str, Any]]


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
        if not key or not key.isascii() or not key.isprintable():
            raise InvalidOption("key: give the text that `celadon keys create` printed")
        self._jobs = f"{base_url.rstrip('/')}/api/jobs"
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._policy = policy

    # --- submitting

    def submit(self, name: str, payload: Mapping[str, Any], options: Options) -> Flow[Receipt]:
        key = options.get("key") or new_key()
        try:
            job = {**options, "name": name, "payload": payload}
            return value_of(Receipt, (yield from self._ask("POST", "", body=_body(job, key))))
        except ApiError as error:
            error.idempotency_key = key
            raise

    def submit_many(self, jobs: Iterable[NewJob], key: str | None) -> Flow[list[Receipt | ApiError]]:
        """In parts of what one request takes, under keys that are the same when the whole is repeated."""
        key = key or new_key()
        results: list[Receipt | ApiError] = []
        rest = enumerate(jobs)
        while part := list(islice(rest, MOST_JOBS)):
            bodies = [_body(job, job.get("key") or f"{key}:{number}") for number, job in part]
            try:
                answer = yield from self._ask("POST", "/bulk", body={"jobs": bodies})
                results += [result_of(each) for each in listed(answer, "results")]
            except ApiError as error:
                error.idempotency_key = key
                raise
        return results

    # --- asking

    def job(self, job_id: str, *, payload: bool = False) -> Flow[JobView]:
        return job_of((yield from self._ask("GET", _at(job_id), {"include": "payload"} if payload else {})))

    def wait(self, job_id: str, limit_s: float) -> Flow[JobView]:
        until = self._policy.now() + (seconds("seconds", limit_s) or 0.0)
        while True:
            began = self._policy.now()
            asked_s = round(min(max(until - began, 0.0), LONGEST_WAIT_S), 3)
            job = job_of((yield from self._ask("GET", _at(job_id), {"wait": asked_s}, holds_s=asked_s)))
            now = self._policy.now()
            if job.finished or now >= until:
                return job
            if now - began < asked_s / 2:
                yield Pause(min(LOOK_AGAIN_S, until - now))

    def jobs(self, filters: Filters, page_size: int) -> Flow[None]:
        given = dict(filters)
        for name in ("created_after", "created_before"):
            given[name] = _text(instant(name, filters.get(name)))  # type: ignore[arg-type]
        params = {name: value for name, value in given.items() if value is not None} | {"limit": page_size}
        while True:
            page = yield from self._ask("GET", "", params)
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
            yield from self._exchange("GET", f"{_at(job_id)}/events", headers=headers, holds_s=SILENCE_S, step=Open)
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

    def act(self, job_id: str, action: str, body: Mapping[str, Any] | None = None) -> Flow[JobView]:
        return job_of((yield from self._ask("POST", f"{_at(job_id)}/{action}", body=body)))

    def reschedule(self, job_id: str, run_at: datetime | None, delay: timedelta | float | None) -> Flow[JobView]:
        if (run_at is None) == (delay is None):
            raise InvalidOption("say when the job is due: either run_at or delay")
        when = {"run_at": _text(instant("run_at", run_at)), "delay_s": seconds("delay", delay)}
        return self.act(job_id, "reschedule", {name: value for name, value in when.items() if value is not None})

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
        body: Any = None,
        holds_s: float = 0.0,
        step: type[Send] | type[Open] = Send,
    ) -> Flow[Answer]:
        request = Request(
            method=method,
            url=self._jobs + path,
            params=params or {},
            headers={**self._headers, **(headers or {})},
            body=body,
            holds_s=holds_s,
        )
        return exchange(request, self._policy, step)


def new_key() -> str:
    """An idempotency key for a submission that has none, so that a retry can't double it."""
    return f"client:{uuid.uuid4()}"


def _body(job: Mapping[str, Any], key: str) -> dict[str, Any]:
    given = {
        **{name: value for name, value in job.items() if name not in ("delay", "expires_in")},
        "key": key,
        "run_at": _text(instant("run_at", job.get("run_at"))),
        "delay_s": seconds("delay", job.get("delay")),
        "expires_in_s": seconds("expires_in", job.get("expires_in")),
    }
    return {name: value for name, value in given.items() if value is not None}


def _at(job_id: str) -> str:
    return f"/{quote(job_id, safe='')}"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
