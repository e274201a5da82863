"""The feature: what the service does for which queue, and what comes of a request."""

from __future__ import annotations

import inspect
import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from celadon_feature.answers import Answer, Refused, store_away, too_large
from celadon_feature.deliveries import Delivery, Handler, is_job_id, parse
from celadon_feature.signing import MAX_AGE_S, parsed_keys, verify
from celadon_feature.stores import Run, Store, StoreUnavailable
from celadon_feature.work import Registered, Work, busy, replayed, told

log = logging.getLogger("celadon_feature")
H = TypeVar("H", bound=Handler)

PATH = "/internal/process-job"
# What the platform's registration takes, too.
_PLAIN_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
EXPIRES_S = 15.0  # After the process has died. Renewed every third of it: slow renewals and long pauses fit in.
MAX_BODY_BYTES = 1024 * 1024  # Four times the largest payload that the platform takes by default.
MAX_RESULT_BYTES = 256 * 1024  # What the platform reads of an answer by default.
FORGET_EVERY_S = 3600.0


class Feature:
    """The jobs that a service does, each job once: a repeated delivery is given the answer that is kept.

    keys: one or two signing keys (`whsec_…`), as a text or one by one; either may have signed. None with
    `unsigned=True` for development: then whoever reaches the port can have jobs done.
    store: WHAT ALL REPLICAS SHARE. It knows which jobs are done; a replica with a store of its own does again what
    another has done. See `celadon_feature.stores`.
    path: where jobs are POSTed to; the state of one is asked for at `{path}/{jobId}`.
    max_age_s: a signature is good for less than so many seconds, before and after. max_body_bytes: of a request.
    max_result_bytes: of an answer that tells a result; as `max_answer_bytes` of the queue's registration.
    expires_s: so many seconds after a replica's death its job counts as interrupted and may run again.

    "Once" is meant of handlers that end. A job is begun again if its process dies in the midst, or stands still, or
    can't reach the store, for longer than `expires_s`: in the last two cases its own handler goes on beside the other,
    and the job takes effect twice. So what a handler does outside (a mail, a payment) should carry `delivery.job_id` as
    its own idempotency key.
    """

    def __init__(
        self,
        *,
        keys: str | Iterable[str] | None,
        store: Store,
        path: str = PATH,
        unsigned: bool = False,
        max_age_s: float = MAX_AGE_S,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_result_bytes: int = MAX_RESULT_BYTES,
        expires_s: float = EXPIRES_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if unsigned and keys is not None:
            raise ValueError("unsigned=True and keys: give one of them")
        if not unsigned and keys is None:
            raise ValueError("keys=None: give a signing key; `celadon_feature.new_key()` makes one")
        if not _PLAIN_PATH.fullmatch(path):
            raise ValueError(f"path={path!r}: a plain path is meant, such as {PATH!r}, without a slash at its end")
        bounds = {"max_age_s": max_age_s, "expires_s": expires_s}
        bounds |= {"max_body_bytes": max_body_bytes, "max_result_bytes": max_result_bytes}
        for name, value in bounds.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name}={value}: a finite number above 0 is needed")
        self.path, self.max_body_bytes = path, max_body_bytes
        self._keys = () if keys is None else parsed_keys(keys)
        self._store, self._max_age_s, self._clock = store, max_age_s, clock
        self._expires_s, self._max_result_bytes = expires_s, max_result_bytes
        self._handlers: dict[str, Registered] = {}
        self._forgotten_at = time.monotonic()

    def handler(self, queue: str, *, permanent: Iterable[type[Exception]] = ()) -> Callable[[H], H]:
        """Declare what does the jobs of a queue: a function, or a coroutine, that takes a `Delivery`.

        What it returns is the job's result (JSON). What it raises makes a failed try, and is tried again by the queue's
        rules; `Permanent`, or an exception named in `permanent`, makes the job dead at once.
        Raises ValueError: the queue has a handler already.
        """

        def declare(function: H) -> H:
            if queue in self._handlers:
                raise ValueError(f"The queue {queue!r} has a handler already")
            try:
                inspect.signature(function).bind(None)
            except TypeError:
                raise ValueError(f"The handler of {queue!r} has to take one argument, the Delivery") from None
            self._handlers[queue] = Registered(function, tuple(permanent))
            return function

        return declare

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that have a handler."""
        return tuple(self._handlers)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request, doing its job in this thread if there is one to be done. Raises nothing of it.

        path: without query, decoded. headers: names in any case. A coroutine runs on an event loop of its own; a server
        that has a loop takes `celadon_feature.asgi`.
        """
        opened = self.open(method, path, headers, body)
        return opened.do() if isinstance(opened, Work) else opened

    def open(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | Work:
        """The first half of `handle`: an answer, or the work that has to be done for it."""
        try:
            return self._open(method, path, {name.lower(): value for name, value in headers.items()}, body)
        except Refused as refused:
            log.warning("%s %.200r refused with %d: %s", method, path, refused.status, refused)
            return refused.answer()
        except StoreUnavailable as away:
            log.error("the store of deliveries is away: %s", away)
            return store_away().answer()

    def _open(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | Work:
        """In the order of trust: nothing is read of what nobody has signed. Raises Refused, StoreUnavailable."""
        job_id = self._routed(method, path)
        if len(body) > self.max_body_bytes:
            raise too_large(self.max_body_bytes)
        signed_for = None
        if self._keys:
            signed_for = verify(headers, body, self._keys, now=self._clock(), max_age_s=self._max_age_s)
        if job_id is not None:
            if signed_for not in (None, job_id):
                raise Refused(401, "Signed for another job: webhook-id is not the id in the path")
            return told(self._store.look(job_id))
        delivery = parse(body, headers.get("traceparent"))
        if signed_for not in (None, delivery.job_id):
            raise Refused(400, "webhook-id is not the jobId in the body")
        return self._begin(delivery)

    def _routed(self, method: str, path: str) -> str | None:
        """None: a delivery. Else the id of the job that is asked for. Raises Refused (404, 405)."""
        if path == self.path:
            allowed, job_id = "POST", None
        else:
            base, _, job_id = path.rpartition("/")
            if base != self.path or not is_job_id(job_id):
                raise Refused(404, f"There is nothing here; jobs are delivered to {self.path}")
            allowed = "GET"
        if method != allowed:
            raise Refused(405, f"{method} is not allowed here; {allowed} is", Allow=allowed)
        return job_id

    def _begin(self, delivery: Delivery) -> Answer | Work:
        registered = self._handlers.get(delivery.queue)
        if registered is None:
            raise Refused(404, f"No handler for queue {delivery.queue!r:.100}; this service does {self._told_queues()}")
        self._forget()
        run = Run(job_id=delivery.job_id, attempts_made=delivery.attempts_made, token=uuid.uuid4().hex)
        begun_at = time.monotonic()
        there = self._store.begin(run, self._expires_s)
        if there is None:
            return Work(
                delivery,
                run,
                registered,
                self._store,
                begun_at=begun_at,
                expires_s=self._expires_s,
                max_result_bytes=self._max_result_bytes,
            )
        if not there.ended:
            raise busy(delivery.job_id)
        return replayed(there)

    def _forget(self) -> None:
        """Once an hour, delete what was kept long enough."""
        if time.monotonic() - self._forgotten_at > FORGET_EVERY_S:
            self._forgotten_at = time.monotonic()
            self._store.forget()

    def _told_queues(self) -> str:
        return ", ".join(sorted(self._handlers)) or "none"
