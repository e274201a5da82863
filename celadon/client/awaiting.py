"""`AsyncCeladonClient`: the calls, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
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


class AsyncCeladonClient:
    """`CeladonClient` for asyncio: the same calls, with the same rules, awaited. One per event loop."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout_s: float = 10.0,
        give_up_after_s: float = 30.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._calls = Calls(base_url, key, Policy(timeout_s=timeout_s, give_up_after_s=give_up_after_s))
        self._own = http is None
        self._http = httpx.AsyncClient() if http is None else http

    async def submit(self, name: str, payload: Mapping[str, Any], **options: Unpack[Options]) -> Receipt:
        return await self._do(self._calls.submit(name, payload, options))

    async def delegate(self, queue: str, data: Any, **options: Unpack[DelegateOptions]) -> Receipt:
        return await self._do(self._calls.delegate(queue, data, options))

    async def submit_many(self, jobs: Iterable[NewJob], *, key: str | None = None) -> list[Receipt | ApiError]:
        return await self._do(self._calls.submit_many(jobs, key))

    async def job(self, job_id: str, *, payload: bool = False) -> JobView:
        return await self._do(self._calls.job(job_id, payload=payload))

    async def wait(self, job_id: str, seconds: float) -> JobView:
        return await self._do(self._calls.wait(job_id, seconds))

    def jobs(self, *, page_size: int = 50, **filters: Unpack[Filters]) -> AsyncGenerator[JobSummary, None]:
        return self._each(self._calls.jobs(filters, page_size))

    def events(self, job_id: str) -> AsyncGenerator[JobView, None]:
        """The job each time it changes. Leave it early within `contextlib.aclosing`, which ends the connection."""
        return self._each(self._calls.events(job_id))

    async def cancel(self, job_id: str) -> JobView:
        return await self._do(self._calls.act(job_id, "cancel"))

    async def replay(self, job_id: str) -> JobView:
        return await self._do(self._calls.act(job_id, "replay"))

    async def run_now(self, job_id: str) -> JobView:
        return await self._do(self._calls.act(job_id, "run-now"))

    async def reschedule(
        self, job_id: str, *, run_at: datetime | None = None, delay: timedelta | float | None = None
    ) -> JobView:
        return await self._do(self._calls.reschedule(job_id, run_at, delay))

    async def schedules(self) -> list[Schedule]:
        return await self._do(self._calls.schedules())

    async def pause_schedule(self, name: str, *, reason: str | None = None) -> Schedule:
        return await self._do(self._calls.turn_schedule(name, "pause", {"reason": reason}))

    async def resume_schedule(self, name: str) -> Schedule:
        return await self._do(self._calls.turn_schedule(name, "resume"))

    async def limits(self) -> list[Gate]:
        return await self._do(self._calls.gates("limits"))

    async def pauses(self) -> list[Gate]:
        return await self._do(self._calls.gates("pauses"))

    async def pause(
        self,
        kind: Kind,
        name: str,
        *,
        reason: str | None = None,
        until: datetime | None = None,
        lasts: timedelta | float | None = None,
    ) -> Gate:
        return await self._do(self._calls.pause(kind, name, reason, until, lasts))

    async def resume(self, kind: Kind, name: str) -> Gate:
        return await self._do(self._calls.resume(kind, name))

    async def aclose(self) -> None:
        """Close its connections."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- doing the steps

    async def _do(self, flow: Flow[T]) -> T:
        doing = _Doing(self._http)
        came: Any = None
        while True:
            try:
                step = flow.send(came)
            except StopIteration as end:
                value: T = end.value
                return value
            came = await doing.step(step)

    async def _each(self, flow: Flow[None]) -> AsyncGenerator[Any, None]:
        came: Any = None
        async with aclosing(_Doing(self._http)) as doing:
            while True:
                try:
                    step = flow.send(came)
                except StopIteration:
                    return
                if isinstance(step, Found):
                    yield step.item
                    came = None
                else:
                    came = await doing.step(step)


class _Doing:
    """Does the steps of one call."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._stream = AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None

    async def step(self, step: Step) -> Answer | Failure | bytes | None:
        try:
            match step:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Send(request):
                    return http.answer(await self._client.request(**http.arguments(request)))
                case Open(request):
                    return await self._open(request)
                case Read() if self._pieces is not None:
                    return await anext(self._pieces, None)
        except http.TRANSIENT as error:
            return http.failure(error)
        return None

    async def _open(self, request: Request) -> Answer:
        await self._stream.aclose()
        response = await self._stream.enter_async_context(self._client.stream(**http.arguments(request)))
        if response.is_success:
            self._pieces = response.aiter_bytes()
            return http.opened(response)
        await response.aread()
        return http.answer(response)

    async def aclose(self) -> None:
        await self._stream.aclose()
