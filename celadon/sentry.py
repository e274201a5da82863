"""Sentry, when SENTRY_DSN is set: jobs that failed, and errors that are logged. (Schedules: see `monitors`.)

What leaves is what an operator needs to find the job in the ledger: names, ids, tags, the exception and its stack.
Payloads, results, arguments, local variables, bodies, headers, addresses and the log before an error do not. The
message of an exception is sent as it is: what a job writes into it is the job's to answer for.

Sentry's own integration for Celery is not used. Our tasks raise nothing that it could catch, our Beat fires from the
ledger and not through the function that it patches, and it would add headers to messages that carry an id alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celadon.errors import CeladonError
from celadon.settings import settings

if TYPE_CHECKING:
    from celadon.jobs import Claim, Failure, Recovered

FLUSH_S = 2.0  # How long a process that ends waits for what it has to tell.
QUIET = ("sentry_sdk", "multiprocessing")  # Of a child that was killed we tell with the job that it ran.

_process: str | None = None  # Which kind of process tells; None: none does.
_release: str | None = None  # As Sentry's package finds it, which may take a program: once, not after each fork.


def start(process: str) -> None:
    """Tell Sentry from now on, in this process and those it forks. process: web, worker or beat.

    After `logs.configure`. Raises CeladonError for a DSN that can't be used.
    """
    global _process
    if not settings().sentry_dsn:
        return
    _process = process
    try:
        _init()
    except ImportError as error:
        raise CeladonError(
            "SENTRY_DSN is set, but the package sentry-sdk is not installed; install celadon[sentry], or leave it empty"
        ) from error
    logging.getLogger().addHandler(_Errors(logging.ERROR))


def _init() -> None:
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.utils import BadDsn, get_default_release

    global _release
    _release = _release or get_default_release()
    chosen: list[Any] = [AtexitIntegration(lambda pending, timeout: None), DedupeIntegration(), ExcepthookIntegration()]
    if _process == "web":
        from sentry_sdk.integrations.flask import FlaskIntegration

        chosen.append(FlaskIntegration(transaction_style="url"))
    try:
        sentry_sdk.init(
            dsn=settings().sentry_dsn,
            environment=settings().sentry_environment,
            release=_release,
            traces_sample_rate=settings().sentry_traces_sample_rate or None,
            integrations=chosen,
            # Others would send what requests, queries and logs carried.
            default_integrations=False,
            auto_enabling_integrations=False,
            max_breadcrumbs=0,
            include_local_variables=False,
            max_request_body_size="never",
            send_default_pii=False,
            auto_session_tracking=False,
            before_send=_scrubbed,
            before_send_transaction=_scrubbed,
        )
    except BadDsn as error:
        raise CeladonError(f"SENTRY_DSN can't be used ({error}); copy it from the project's page in Sentry") from error


def _scrubbed(event: Any, hint: Any) -> Any:
    """The event without the request it happened in: its route is told as the transaction, and that is enough."""
    event.pop("request", None)
    return event


class _Errors(logging.Handler):
    """What is logged as an error is told too: our own lines with their fields, those of libraries without values."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not record.name.startswith(QUIET):
                self._tell(record)
        except Exception:
            self.handleError(record)

    def _tell(self, record: logging.LogRecord) -> None:
        import sentry_sdk

        fields = dict(record.msg) if isinstance(record.msg, dict) else {"event": str(record.msg)}
        cause: Any = fields.pop("exc_info", None) or record.exc_info
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("logger", record.name)
            for name in ("request_id", "job_id", "job", "queue"):
                if name in fields:
                    scope.set_tag(name, fields[name])
            scope.set_context("log", fields)
            if cause:
                sentry_sdk.capture_exception(None if cause is True else cause)
            else:
                sentry_sdk.capture_message(str(fields["event"]), level="error")


# --- jobs -------------------------------------------------------------------------------------------------------------


@contextmanager
def run(claim: Claim) -> Iterator[None]:
    """While a job runs, what its own code tells Sentry carries the job's tags, and no other job's."""
    import sentry_sdk

    with sentry_sdk.isolation_scope() as scope:
        _tag(scope, claim)
        if claim.engine == "inline":  # A part of the request that is traced.
            yield
            return
        with sentry_sdk.start_transaction(op="queue.process", name=claim.name, source="task") as traced:
            traced.set_status("ok")  # Until `failed` says otherwise.
            yield


def failed(claim: Claim, failure: Failure, *, final: bool) -> None:
    """An attempt has failed. final: there will be no other."""
    if _process is None:
        return
    import sentry_sdk

    traced = sentry_sdk.get_current_scope().transaction
    if traced is not None and claim.engine != "inline":
        traced.set_status("internal_error")
    with sentry_sdk.new_scope() as scope:
        _tag(scope, claim)
        _judge(scope, final)
        scope.fingerprint = [failure.fingerprint]
        if failure.cause is not None:
            sentry_sdk.capture_exception(failure.cause)
        else:
            _capture(failure.kind, failure.message)


def crashed(one: Recovered, *, final: bool) -> None:
    """The process that ran a job is gone. final: so is the job."""
    if _process is None:
        return
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        for name, value in (("job_id", one.job_id), ("job", one.name), ("queue", one.queue), ("worker", one.worker)):
            scope.set_tag(name, value)
        _judge(scope, final)
        scope.fingerprint = ["crash", one.name]
        _capture("Crashed", f"the process that ran {one.name} died")


def _tag(scope: Any, claim: Claim) -> None:
    for name, value in (
        ("job_id", claim.job_id),
        ("job", claim.name),
        ("queue", claim.queue),
        ("attempt", str(claim.attempt + 1)),
        ("worker", claim.worker),
        ("engine", claim.engine),
    ):
        scope.set_tag(name, value)
    if claim.engine != "inline":  # Else it happened in the request, whose name it keeps.
        scope.set_transaction_name(claim.name, source="task")


def _judge(scope: Any, final: bool) -> None:
    scope.set_tag("final", str(final).lower())
    scope.set_level("error" if final else "warning")


def _capture(kind: str, message: str) -> None:
    """An error without an exception: it happened elsewhere."""
    import sentry_sdk

    sentry_sdk.capture_event({"exception": {"values": [{"type": kind, "value": message}]}})


def is_on() -> bool:
    """Whether this process tells."""
    return _process is not None


def flush() -> None:
    """Wait, for a while, until what was told has left: before a process ends without its exit handlers."""
    if _process is not None:
        import sentry_sdk

        sentry_sdk.flush(FLUSH_S)


def _after_fork() -> None:
    # The thread that sends has stayed in the parent, and so have its locks.
    if _process is not None:
        _init()


os.register_at_fork(after_in_child=_after_fork)
