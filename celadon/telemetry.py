"""What is told of each event, in one place: its log line, its metrics, and what Sentry hears of it.

Nothing here may break a job or a request, nor one part another: an observer that fails is logged once per process, and
no more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec

import structlog

from celadon import logs, monitors, registry, sentry
from celadon.errors import CeladonError
from celadon.jobs import Claim, Failure, Receipt, Recovered
from celadon.metrics import declared as metrics
from celadon.states import Outcome, State

log = logs.get("celadon.jobs")
P = ParamSpec("P")

UNKNOWN = "(unknown)"  # Instead of a name that anybody could have made up.

_failed: set[str] = set()


def _observer(observe: Callable[P, None]) -> Callable[P, None]:
    @functools.wraps(observe)
    def observed(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            observe(*args, **kwargs)
        except Exception:
            name = f"{observe.__module__}.{observe.__qualname__}"
            if name not in _failed:
                _failed.add(name)
                log.exception("telemetry.failed", observer=name)

    return observed


def of(claim: Claim) -> dict[str, Any]:
    """The fields that every line of a run carries."""
    return {
        "job_id": claim.job_id,
        "job": claim.name,
        "queue": claim.queue,
        "attempt": claim.attempt + 1,
        "epoch": claim.epoch,
    }


# --- submitting -------------------------------------------------------------------------------------------------------


@_observer
def submitted(name: str, receipt: Receipt, seconds: float | None = None) -> None:
    """A submission has its receipt. seconds: what it took, if it was made by itself."""
    log.info("job.submitted", job_id=receipt.job_id, job=name, outcome=receipt.outcome.value, by=receipt.by)
    metrics.SUBMISSIONS.add(name, receipt.outcome)
    if seconds is not None:
        metrics.SUBMIT_SECONDS.observe(seconds)


@_observer
def refused(name: str, error: CeladonError) -> None:
    """A submission was refused. The message is for the caller: it may say what was in the payload."""
    known = name if name in registry.known() else UNKNOWN
    log.info("job.refused", job=known, error=type(error).__name__)
    metrics.SUBMISSIONS.add(known, type(error).__name__)


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Tell of the error that refuses a submission, and let it through."""
    try:
        yield
    except CeladonError as error:
        refused(name, error)
        raise


# --- running ----------------------------------------------------------------------------------------------------------


@contextmanager
def run(claim: Claim) -> Iterator[None]:
    """What is told while the job runs, also by its own code, names the job."""
    with structlog.contextvars.bound_contextvars(**of(claim)), ExitStack() as stack:
        if sentry.is_on():
            _enter(stack, claim)
        yield


@_observer
def _enter(stack: ExitStack, claim: Claim) -> None:
    stack.enter_context(sentry.run(claim))


def claimed(claim: Claim) -> None:
    """A run begins."""
    log.info("job.started", **of(claim), engine=claim.engine, worker=claim.worker)
    _count_begun(claim)
    _observer(monitors.begun)(claim.job_id, claim.schedule)


@_observer
def _count_begun(claim: Claim) -> None:
    if claim.queued_at is not None:
        metrics.PICKUP_SECONDS.observe((claim.claimed_at - claim.queued_at).total_seconds(), claim.queue)
    if claim.promised_at is not None:
        metrics.LATENESS_SECONDS.observe((claim.claimed_at - claim.promised_at).total_seconds())


def ended(claim: Claim, outcome: Outcome, state: State, failure: Failure | None) -> None:
    """An attempt has ended, as the ledger says, and the job is in `state` now."""
    seconds = claim.seconds()
    facts = {**of(claim), "outcome": outcome.value, "state": state.value, "seconds": round(seconds, 3)}
    if failure is None:
        log.info("job.ended", **facts)
    else:
        log.warning("job.failed", **facts, error=failure.message, exc_info=failure.cause)
    _count_ended(claim.name, outcome, seconds)
    if failure is not None:
        _observer(sentry.failed)(claim, failure, final=state == State.DEAD)
    _observer(monitors.ended)(claim.job_id, claim.schedule, state, seconds)


@_observer
def late(claim: Claim, reason: str, in_a_row: int) -> None:
    """A run did not begin, for it came later than its limit's window allows."""
    log.warning("job.too_late", **of(claim), worker=claim.worker, reason=reason, in_a_row=in_a_row)
    metrics.LATE_RUNS.add(claim.name)


def recovered(one: Recovered) -> None:
    """A job whose runner is gone was put back, or ended."""
    facts = {"outcome": one.outcome.value, "state": one.state.value, "worker": one.worker}
    log.warning("job.recovered", job_id=one.job_id, job=one.name, queue=one.queue, **facts)
    _count_ended(one.name, one.outcome)
    if one.outcome == Outcome.CRASHED:
        _observer(sentry.crashed)(one, final=one.state == State.DEAD)
    _observer(monitors.ended)(one.job_id, one.schedule, one.state)


@_observer
def _count_ended(name: str, outcome: Outcome, seconds: float | None = None) -> None:
    metrics.ATTEMPTS.add(name, outcome)
    if seconds is not None:
        metrics.RUN_SECONDS.observe(seconds, name)


# --- delegation -------------------------------------------------------------------------------------------------------


@_observer
def delivered(queue: str, service: str, what: str, outcome: str, seconds: float, status: int | None, why: str) -> None:
    """A request about a job was made of the service that owns its queue. what: post | ask."""
    told = {"queue": queue, "service": service, "what": what, "outcome": outcome, "seconds": round(seconds, 3)}
    if why:
        log.warning("delivery.answered", **told, status=status, why=why)
    else:
        log.info("delivery.answered", **told, status=status)
    metrics.DELIVERIES.add(queue, what, outcome)
    metrics.DELIVERY_SECONDS.observe(seconds, queue)


@_observer
def endpoint_circuit(service: str, *, open_for_s: float | None, reason: str = "") -> None:
    """An endpoint is taken for away for so long, or (None) for back."""
    if open_for_s is None:
        log.info("delivery.circuit_closed", service=service)
    else:
        log.warning("delivery.circuit_opened", service=service, open_for_s=open_for_s, reason=reason)
        metrics.ENDPOINT_OPENINGS.add(service)


# --- the process ------------------------------------------------------------------------------------------------------


@_observer
def circuit(*, is_open: bool, reason: str = "") -> None:
    """The broker is taken for away, or for back."""
    if is_open:
        log.warning("broker.circuit_opened", reason=reason)
    else:
        log.info("broker.circuit_closed")
    metrics.CIRCUIT_OPEN.set(is_open)


@_observer
def answered(method: str, route: str, status: int, seconds: float) -> None:
    """A request was answered, to its last byte. route: the template, for the path may be the key to an order."""
    log.info("http.request", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
    metrics.HTTP_REQUESTS.add(method, route, str(status))
    metrics.HTTP_REQUEST_SECONDS.observe(seconds, method, route)
