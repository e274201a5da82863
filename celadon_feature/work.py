"""One run of a handler: begun in the store, kept from expiring, and its answer kept before it is given."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from celadon_feature.answers import Answer, Refused, as_json, ok, store_away
from celadon_feature.deliveries import Delivery, Handler, Permanent
from celadon_feature.renewal import PARTS, Renewal
from celadon_feature.stores import Run, Standing, Store, StoreUnavailable

log = logging.getLogger("celadon_feature")
T = TypeVar("T")

INSIST_S = 5.0  # How long an ended run tries to tell a store that is away, while its caller waits.
_ERROR_CHARACTERS = 2000


class InThread(Protocol):
    """Calls a function in a thread, for code on an event loop."""

    def __call__(self, function: Callable[..., T], /, *arguments: Any) -> Awaitable[T]: ...


class Registered(NamedTuple):
    """A queue's handler, and the exceptions of it after which another try can't help."""

    handler: Handler
    permanent: tuple[type[Exception], ...] = ()

    @property
    def asynchronous(self) -> bool:
        return inspect.iscoroutinefunction(self.handler) or inspect.iscoroutinefunction(
            getattr(self.handler, "__call__", None)  # noqa: B004  An object whose call is a coroutine.
        )


class Work:
    """A delivery whose job has been begun in the store, and whose handler is to run now.

    begun_at: when that was, by `time.monotonic()`. Nothing renews the run until it is done, so that one which nobody
    comes to do expires.
    """

    def __init__(
        self,
        delivery: Delivery,
        run: Run,
        registered: Registered,
        store: Store,
        *,
        begun_at: float,
        expires_s: float,
        max_result_bytes: int,
    ) -> None:
        self.delivery, self.registered = delivery, registered
        self._run, self._store, self._begun_at = run, store, begun_at
        self._expires_s, self._max_result_bytes = expires_s, max_result_bytes

    def do(self) -> Answer:
        """Run the handler here, one that is a coroutine on an event loop of its own. Raises no Exception of it."""
        if self._has_waited() and (instead := self._overtaken()):
            return instead
        with Renewal(self._store, self._run, self._expires_s):
            try:
                result = self.registered.handler(self.delivery)
                if inspect.isawaitable(result):
                    result = asyncio.run(_awaited(result))
            except Exception as error:
                ended = self._failed(error)
            except BaseException:
                self._abandon()  # The process is ending under the handler.
                raise
            else:
                ended = self._succeeded(result)
            return self._keep(*ended)

    async def do_on_loop(self, in_thread: InThread) -> Answer:
        """Await the handler on this event loop; the store is told in a thread. Raises no Exception of the handler."""
        if self._has_waited() and (instead := await in_thread(self._overtaken)):
            return instead
        with Renewal(self._store, self._run, self._expires_s):
            try:
                result = await self.registered.handler(self.delivery)
            except Exception as error:
                ended = self._failed(error)
            except BaseException:
                await asyncio.shield(in_thread(self._abandon))  # Cancelled: the server is stopping.
                raise
            else:
                ended = self._succeeded(result)
            return await asyncio.shield(in_thread(self._keep, *ended))

    def _has_waited(self) -> bool:
        """Whether it was begun so long ago, waiting for a thread, that a renewal is due."""
        return time.monotonic() - self._begun_at > self._expires_s / PARTS

    def _overtaken(self) -> Answer | None:
        """None: the run is renewed, and its handler may run. Else the answer of one that must not run any more."""
        try:
            if self._store.renew(self._run, self._expires_s):
                return None
            return self._as_the_other()
        except StoreUnavailable as away:
            log.error("job %s waited for long, and its handler is not run: %s", self._run.job_id, away)
            return store_away().answer()

    def _succeeded(self, result: Any) -> tuple[bool, str]:
        try:
            answer = as_json({"success": True, "result": result})
            # The longer one, which the platform has to be able to read as well.
            when_asked = told(Standing(state="succeeded", attempts_made=self._run.attempts_made, answer=answer))
        except Exception as error:  # A class of the handler's own may raise anything.
            return self._unusable(f"it is no JSON ({_described(error)})")
        if len(when_asked.body) > self._max_result_bytes:
            return self._unusable(f"its answer has more than {self._max_result_bytes} bytes; return a reference to it")
        return True, answer

    def _unusable(self, why: str) -> tuple[bool, str]:
        # Another try would do the work again and come to the same end.
        return self._failed(Permanent(f"The handler of {self.delivery.queue!r} is done, but its result is lost: {why}"))

    def _failed(self, error: Exception) -> tuple[bool, str]:
        """The traceback is for this service's log; outside goes what kind of error it was, and its message."""
        delivery = self.delivery
        message = _described(error)[:_ERROR_CHARACTERS]
        told: dict[str, Any] = {"success": False, "error": message}
        if isinstance(error, (Permanent, *self.registered.permanent)):
            log.warning("job %s of queue %s is refused for good: %s", delivery.job_id, delivery.queue, message)
            told["permanent"] = True
        else:
            log.error("job %s of queue %s failed", delivery.job_id, delivery.queue, exc_info=error)
        return False, as_json(told)

    def _keep(self, success: bool, answer: str) -> Answer:
        """Keep the answer, then give it; 409 if the run expired and another delivery has begun the job meanwhile."""
        try:
            if _insist(lambda: self._store.finish(self._run, success=success, answer=answer)):
                return ok(answer)
            return self._as_the_other()
        except StoreUnavailable as away:
            # The caller can still know. Only if this answer is lost as well, the job counts as interrupted.
            log.error("the answer of job %s could not be kept: %s", self._run.job_id, away)
            return ok(answer)

    def _as_the_other(self) -> Answer:
        """The answer of the delivery that has begun the job after this run expired. Raises StoreUnavailable."""
        there = self._store.look(self._run.job_id)
        return replayed(there) if there.ended else busy(self._run.job_id).answer()

    def _abandon(self) -> None:
        try:
            self._store.abandon(self._run)
        except StoreUnavailable as away:
            log.warning("job %s counts as running until it expires: %s", self._run.job_id, away)


def replayed(there: Standing) -> Answer:
    """The answer that an earlier delivery of the job was given."""
    return ok(there.answer, replayed=True)


def busy(job_id: str) -> Refused:
    return Refused(409, f"Another delivery of job {job_id} is at work; ask for its state")


def told(there: Standing) -> Answer:
    """The answer to the question for a job's state."""
    if there.state == "unknown":
        return ok(as_json({"state": "unknown"}))
    state = "done" if there.ended else there.state
    answer = json.loads(there.answer) if there.ended else {}
    return ok(as_json({"state": state, **answer, "attemptsMade": there.attempts_made}))


def _described(error: Exception) -> str:
    """Its class and message; the class alone if there is no message, or making it raises."""
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:
        return type(error).__name__


async def _awaited(result: Awaitable[T]) -> T:
    return await result


def _insist(tell: Callable[[], T]) -> T:
    """Tell a store that may be away for a moment. Raises StoreUnavailable after INSIST_S seconds."""
    deadline, pause_s = time.monotonic() + INSIST_S, 0.1
    while True:
        try:
            return tell()
        except StoreUnavailable:
            if time.monotonic() + pause_s > deadline:
                raise
            time.sleep(pause_s)
            pause_s *= 2
