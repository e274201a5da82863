"""`CeladonClient`: the calls, done one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from celadon.client import http
from celadon.client.bodies import DelegateOptions, NewJob, Options
from celadon.client.calls import Calls, Filters
from celadon.client.errors import ApiError
from celadon.client.exchange import Policy
from celadon.client.flow import Answer, Failure, Flow, Found, Open, Pause, Read, Request, Send, Step
from celadon.client.values import Gate, Kind, Receipt, Schedule
from celadon.jobs import JobSummary, JobView

T = TypeVar("T")


class CeladonClient:
    """Submits jobs and asks for them over HTTP, from a program that has nothing else of the platform.

    One per process, shared by its threads, made after a fork.

    base_url: as in https://jobs.example.com. key: what `celadon keys create` printed. timeout_s: the longest silence
    within a try. give_up_after_s: when no further try of a request begins; until then a connection that fails, a
    time-out, and the answers 429, 502, 503 and 504 are tried again, with growing pauses, or those that the server asks
    for. http: a client of your own, for proxies, certificates and the like; closing it is yours then.

    Every method raises `celadon.client.ApiError`, or a class of it: `InvalidRequest` also for what can't even be sent.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout_s: float = 10.0,
        give_up_after_s: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        self._calls = Calls(base_url, key, Policy(timeout_s=timeout_s, give_up_after_s=give_up_after_s))
        self._own = http is None
        self._http = httpx.Client() if http is None else http

    def submit(self, name: str, payload: Mapping[str, Any], **options: Unpack[Options]) -> Receipt:
        """Submit a job; the options are those of `celadon.submit`, without `session`.

        Without a key of yours it gets one before the first try, so that a retry can't double it. To repeat a call that
        raised, give it the error's `idempotency_key`.
        """
        return self._do(self._calls.submit(name, payload, options))

    def delegate(self, queue: str, data: Any, **options: Unpack[DelegateOptions]) -> Receipt:
        """Submit a job that is delivered to the service that owns the queue; options as of `celadon.delegate`.

        Its key is as of `submit`.
        """
        return self._do(self._calls.delegate(queue, data, options))

    def submit_many(self, jobs: Iterable[NewJob], *, key: str | None = None) -> list[Receipt | ApiError]:
        """Submit many jobs; in their order, the receipt of each, or the error for which it was refused.

        More than 1,000, or 4 MiB, go in several requests, each with the time of one. key: that of the whole, from which
        jobs without one get theirs; to repeat a call that raised, give it the error's `idempotency_key` and the same
        jobs.
        """
        return self._do(self._calls.submit_many(jobs, key))

    def job(self, job_id: str, *, payload: bool = False) -> JobView:
        """The job with its attempts and steps. payload: with its payload, for which the key needs `operate` too."""
        return self._do(self._calls.job(job_id, payload=payload))

    def wait(self, job_id: str, seconds: float) -> JobView:
        """The job once it has finished, or as it is after `seconds`."""
        return self._do(self._calls.wait(job_id, seconds))

    def jobs(self, *, page_size: int = 50, **filters: Unpack[Filters]) -> Iterator[JobSummary]:
        """All jobs that the filters let through, newest first, page after page."""
        return self._each(self._calls.jobs(filters, page_size))

    def events(self, job_id: str) -> Iterator[JobView]:
        """The job each time it changes, until it has finished; a connection that is lost is made anew."""
        return self._each(self._calls.events(job_id))

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job; of a running one a request, seen at its next step."""
        return self._do(self._calls.act(job_id, "cancel"))

    def replay(self, job_id: str) -> JobView:
        """Put a dead job back.

        A try whose answer was lost is not repeated, for the job may have run meanwhile, and would again: the error is
        `in_doubt` then. So it is with `run_now` and `reschedule`.
        """
        return self._do(self._calls.act(job_id, "replay"))

    def run_now(self, job_id: str) -> JobView:
        """Make a scheduled job due now."""
        return self._do(self._calls.act(job_id, "run-now"))

    def reschedule(
        self, job_id: str, *, run_at: datetime | None = None, delay: timedelta | float | None = None
    ) -> JobView:
        """Make a scheduled job due at another time."""
        return self._do(self._calls.reschedule(job_id, run_at, delay))

    def schedules(self) -> list[Schedule]:
        """All schedules, by name."""
        return self._do(self._calls.schedules())

    def pause_schedule(self, name: str, *, reason: str | None = None) -> Schedule:
        """Let a schedule fire nothing until it is resumed."""
        return self._do(self._calls.turn_schedule(name, "pause", {"reason": reason}))

    def resume_schedule(self, name: str) -> Schedule:
        """Let a schedule go on with its next due time."""
        return self._do(self._calls.turn_schedule(name, "resume"))

    def limits(self) -> list[Gate]:
        """What is limited, with its present use, by kind and name."""
        return self._do(self._calls.gates("limits"))

    def pauses(self) -> list[Gate]:
        """What is paused, by kind and name."""
        return self._do(self._calls.gates("pauses"))

    def pause(
        self,
        kind: Kind,
        name: str,
        *,
        reason: str | None = None,
        until: datetime | None = None,
        lasts: timedelta | float | None = None,
    ) -> Gate:
        """Hold the jobs of a queue, of a name or of a tenant, until then or for so many seconds, or until `resume`."""
        return self._do(self._calls.pause(kind, name, reason, until, lasts))

    def resume(self, kind: Kind, name: str) -> Gate:
        """End a pause."""
        return self._do(self._calls.resume(kind, name))

    def close(self) -> None:
        """Close its connections."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- doing the steps

    def _do(self, flow: Flow[T]) -> T:
        doing = _Doing(self._http)
        came: Any = None
        while True:
            try:
                step = flow.send(came)
            except StopIteration as end:
                value: T = end.value
                return value
            came = doing.step(step)

    def _each(self, flow: Flow[None]) -> Iterator[Any]:
        came: Any = None
        with closing(_Doing(self._http)) as doing:
            while True:
                try:
                    step = flow.send(came)
                except StopIteration:
                    return
                if isinstance(step, Found):
                    yield step.item
                    came = None
                else:
                    came = doing.step(step)


class _Doing:
    """Does the steps of one call."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._stream = ExitStack()
        self._pieces: Iterator[bytes] = iter(())

    def step(self, step: Step) -> Answer | Failure | bytes | None:
        try:
            match step:
                case Pause(seconds):
                    time.sleep(seconds)
                case Send(request):
                    return http.answer(self._client.request(**http.arguments(request)))
                case Open(request):
                    return self._open(request)
                case Read():
                    return next(self._pieces, None)
        except http.TRANSIENT as error:
            return http.failure(error)
        return None

    def _open(self, request: Request) -> Answer:
        self._stream.close()
        response = self._stream.enter_context(self._client.stream(**http.arguments(request)))
        if response.is_success:
            self._pieces = response.iter_bytes()
            return http.opened(response)
        response.read()
        return http.answer(response)

    def close(self) -> None:
        self._stream.close()
