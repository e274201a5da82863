"""`@job`, and the Celery task that it makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Task
from celery.utils.threads import LocalStack

from celadon import registry
from celadon.app import app
from celadon.broker import HEADER
from celadon.errors import InvalidOption
from celadon.registry import Definition
from celadon.result import JobResult

_INSTEAD = {
    "link": "submit the next job at the end of this one, or make both steps of one job",
    "link_error": "use alert_after, or look at dead jobs",
    "chord": "make the parts steps of one job",
    "group_id": "submit each job by itself",
    "chain": "make the parts steps of one job",
    "task_id": "use key= to submit a thing once",
    "retry": "the ledger sends again by itself",
    "serializer": "payloads are JSON in the ledger",
    "time_limit": "declare timeout= with @job",
    "soft_time_limit": "declare timeout= with @job",
    "exchange": "use queue=",
    "routing_key": "use queue=",
}
_OURS = ("key", "run_at", "expires_in", "queue", "priority", "tenant", "confirm", "session")


class JobTask(Task):  # type: ignore[misc]
    """The Celery task of one job. Called directly it is the plain function; from a message it runs the job."""

    abstract = True
    ignore_result = True
    acks_late = True
    typing = False  # Messages carry no arguments; payloads are checked by the declaration.

    def __init__(self, definition: Definition) -> None:
        self.name = definition.name
        self.definition = definition
        self.__doc__ = definition.function.__doc__
        self.__wrapped__ = definition.function
        # Celery keeps the stack on the class, where a job that calls another one's function would be taken for it.
        self.request_stack = LocalStack()
        if definition.adopt:
            self.Strategy = "celadon.adopt:strategy"

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return self.definition.function(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly or request.get("begun"):
            return self.run(*args, **kwargs)
        request.update(begun=True)  # From here on a call of this task is one by its own body.
        if request.get(HEADER):
            from celadon.worker.work import work

            work(request.id, pickup=bool(request.get("pickup")))
        else:
            from celadon.adopt import adopt

            adopt(self.definition, request, args, kwargs)
        return None

    def delay(self, *args: Any, **kwargs: Any) -> JobResult:
        """Submit with these arguments. See `celadon.submit`."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: datetime | float | None = None,
        **options: Any,
    ) -> JobResult:
        """Submit through the ledger; the options of `celadon.submit` may be given too.

        Raises what submit raises, and InvalidOption for Celery options that can't hold here, with the alternative.
        """
        from celadon.submit import submit

        for name, value in options.items():
            if name not in _OURS and value is not None:
                instead = _INSTEAD.get(name, f"known are {', '.join(_OURS)}, countdown, eta, expires")
                raise InvalidOption(f"{self.name}.apply_async({name}=…) can't be kept by a ledger job; {instead}")
        ours = {name: value for name, value in options.items() if name in _OURS}
        if eta is not None:
            ours["run_at"] = eta
        if expires is not None:
            ours["expires_in"] = (
                expires - datetime.now(UTC) if isinstance(expires, datetime) else timedelta(seconds=expires)
            )
        return JobResult(submit(self.name, self.payload(args or (), kwargs or {}), delay=countdown, **ours))

    def payload(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Positional and keyword arguments as payload fields. Raises InvalidOption for more than there are."""
        fields = [name for name in inspect.signature(self.definition.function).parameters if name != registry.INJECTED]
        if len(args) > len(fields):
            raise InvalidOption(
                f"{self.name} takes {len(fields)} arguments ({', '.join(fields)}); {len(args)} were given"
            )
        return {**dict(zip(fields, args, strict=False)), **kwargs}


def job(
    name: str,
    *,
    queue: str | None = None,
    attempts: int = 5,
    backoff: timedelta = timedelta(seconds=5),
    backoff_cap: timedelta = timedelta(hours=1),
    timeout: timedelta | None = None,
    keep: int = 1000,
    keep_for: timedelta = timedelta(days=7),
    keep_bytes: int | None = None,
    keep_dead_for: timedelta | None = None,
    alert_after: int = 3,
    fallback: str | None = None,
    confirm: bool = False,
    permanent: tuple[type[Exception], ...] = (),
    scope: str | None = None,
    adopt: bool = False,
) -> Callable[[Callable[..., Any]], JobTask]:
    """Declare a function as a job. Its parameters are the payload's fields; one named `steps` receives the Steps.

    name: of the job and its Celery task. queue: where it runs; None: by route, or `scheduled` when delayed.
    attempts: tries in all. backoff: wait after the first failure, doubled each time, at most `backoff_cap`.
    timeout: longest run; None: the lane's. keep, keep_for, keep_bytes: how many completed jobs are kept, for how long,
    and in how many bytes. keep_dead_for: how long dead ones are; None: until an operator removes them.
    fallback: `inline`, `defer` or `refuse` when the broker is away; None: the lane's. confirm: default of submit's.
    permanent: exceptions after which another try can't help. scope: business key of the step marks, a format string
    over the payload such as "order:{order_id}"; None: the job's id. adopt: accept plain Celery messages too.

    Raises DeclarationError, UnknownQueue.
    """

    def declare(function: Callable[..., Any]) -> JobTask:
        definition = registry.declare(
            name,
            function,
            queue=queue,
            attempts=attempts,
            backoff=backoff,
            backoff_cap=backoff_cap,
            timeout=timeout,
            keep=keep,
            keep_for=keep_for,
            keep_bytes=keep_bytes,
            keep_dead_for=keep_dead_for,
            alert_after=alert_after,
            fallback=fallback,
            confirm=confirm,
            permanent=permanent,
            scope=scope,
            adopt=adopt,
        )
        task: JobTask = app.register_task(JobTask(definition))
        return task

    return declare
