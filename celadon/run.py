"""The one function that runs a job, for both engines: claim, keep, call, depart."""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

from celadon import admission, backoff, drain, logs, registry, telemetry, tracing
from celadon.errors import (
    Asleep,
    CancelRequested,
    Departure,
    InvalidPayload,
    LedgerUnavailable,
    LostClaim,
    Permanent,
    Postponed,
    RetryIn,
    StepsFailed,
    TooLate,
)
from celadon.jobs import Claim, Failure, storable_text
from celadon.keeper import Running, keeper
from celadon.ledger import claims, moving, places
from celadon.ledger.claims import WhyNot
from celadon.queues import lane_of, longest_s
from celadon.registry import Definition
from celadon.settings import settings
from celadon.states import Outcome, State
from celadon.steps import Steps, as_json

log = logs.get("celadon.run")
T = TypeVar("T")


# How long a finished run tries to tell a ledger that is away. Its lease is kept meanwhile; after that the job is
# recovered and runs again, skipping the steps that are done.
TELL_LEDGER_S = 60.0
AWAY_AGAIN_S = 2.0  # When a run that met a ledger that was away is tried again.
LATE_STARTS = 3  # How often a run that is late for its window records its start anew before it is given back.
TELL_LEDGER_INLINE_S = 2.0  # A web request does not wait that long.


class Ending(NamedTuple):
    """How a run departs."""

    depart: Callable[[], State]
    error: str | None = None
    cause: BaseException | None = None  # What the job raised.


@dataclass(frozen=True, kw_only=True, slots=True)
class Runner:
    """Who runs: a worker's slot, a process for one job, or a web request."""

    worker: str
    engine: str = "worker"  # worker | inline
    alone: bool = False  # In a process of its own: may take jobs in quarantine.
    exclusive: bool = False  # And beside no other of them: may take those that have to be the only one.
    lease_s: float | None = None  # None: that of the job's lane.
    budget_s: float | None = None  # Inline: how long it may take, checked between steps.


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What came of it. `claim` is None if the job was not to be had; then `why` tells."""

    claim: Claim | None = None
    state: State | None = None  # After the run; None: the claim was lost on the way.
    why: WhyNot | None = None
    error: str | None = None  # What it failed of, or why it could not go on.
    cause: BaseException | None = None  # What the job raised, which burnt a try.

    @property
    def failed(self) -> bool:
        return self.cause is not None


def run_job(
    job_id: str, runner: Runner, *, queue: str | None = None, on_claim: Callable[[Claim], None] | None = None
) -> Ran:
    """Claim a job and run it to a departure. Never raises what the job raises.

    queue: where the job is known to be, to take the lane's lease and time-out. on_claim: called once it is ours.
    Raises LedgerUnavailable if the claim could not be asked for.
    """
    lane = lane_of(queue) if queue else None
    lease_s = runner.lease_s or (lane.lease if lane else settings().lease_s)
    claim = claims.claim(
        job_id,
        worker=runner.worker,
        engine=runner.engine,
        lease_s=lease_s,
        alone=runner.alone,
        exclusive=runner.exclusive,
    )
    if claim is None:
        return Ran(why=claims.why_not(job_id))
    with telemetry.run(claim):
        definition = registry.known().get(claim.name)
        if definition is None:
            # Its name was known when it was sent here, and is not any more: leave it to a worker that knows it.
            claims.give_back(claim)
            moving.park(claim.job_id)
            return Ran(why=claims.why_not(job_id))
        timeout_s = definition.timeout.total_seconds() if definition.timeout else longest_s(claim.queue)
        running = Running(claim=claim, lease_s=lease_s, deadline=time.monotonic() + timeout_s)
        keeper().add(running)
        try:
            if on_claim is not None:
                on_claim(claim)
            with tracing.continued(claim.trace):
                ran = _attempt(running, definition, runner)
        finally:
            keeper().remove(running)
        if claim.frees:
            admission.give_on(claim)
        return ran


def _attempt(running: Running, definition: Definition, runner: Runner) -> Ran:
    claim = running.claim
    telemetry.claimed(claim)
    patience_s = TELL_LEDGER_S if runner.engine == "worker" else TELL_LEDGER_INLINE_S
    try:
        ending = _call(running, definition, runner)
        try:
            state = insist(ending.depart, patience_s)
        except LedgerUnavailable:
            raise
        except Exception as refused:
            # The ledger is there and will not have this: a result it can't hold, say. The attempt has failed.
            ending = _failed(claim, definition, refused)
            state = insist(ending.depart, patience_s)
    except LostClaim as lost:
        log.warning("job.stale", reason=str(lost))
        return Ran(claim=claim, error=str(lost))
    except LedgerUnavailable as away:
        log.error("job.left_behind", reason=str(away))
        return Ran(claim=claim, error=str(away))
    return Ran(claim=claim, state=state, error=ending.error, cause=ending.cause)


def _call(running: Running, definition: Definition, runner: Runner) -> Ending:
    """Call the job's function. Returns how it departs. Raises LostClaim."""
    claim = running.claim
    until = time.monotonic() + runner.budget_s if runner.budget_s is not None else None
    steps = Steps(running, permanent=definition.permanent, budget_until=until, waits=runner.engine == "inline")
    try:
        arguments = definition.arguments(claim.payload)
        if definition.takes_steps:
            arguments[registry.INJECTED] = steps
        _begin_in_time(claim)
        result = as_json(claim.name, definition.function(**arguments))
    except LostClaim:
        raise
    except Asleep as asleep:
        wake_at: Any = asleep.wake_at
        return Ending(lambda: claims.sleep(claim, wake_at))
    except CancelRequested:
        return Ending(lambda: claims.end_cancelled(claim))
    except TooLate as late:
        reason = str(late)
        return Ending(lambda: claims.give_back_late(claim, reason), reason)
    except Postponed as postponed:
        again_in_s, why = postponed.seconds, str(postponed)
        return Ending(lambda: claims.postpone(claim, again_in_s, why), why)
    except Departure as departure:
        return Ending(lambda: claims.give_back(claim), str(departure))
    except LedgerUnavailable as away:
        # The job could not go on for lack of the ledger, which is no fault of its own.
        log.warning("job.ledger_away", reason=str(away))
        return Ending(lambda: claims.postpone(claim, AWAY_AGAIN_S), str(away))
    except (KeyboardInterrupt, SystemExit) as ended:
        if drain.draining() or isinstance(ended, KeyboardInterrupt):
            # The process is being ended under the job: give it back at once.
            claims.give_back(claim)
            raise
        return _failed(claim, definition, ended)
    except Exception as error:
        return _failed(claim, definition, error)
    size = len(str(result)) if result is not None else 0
    return Ending(lambda: claims.finish(claim, result, size))


def _begin_in_time(claim: Claim) -> None:
    """The last look before the body begins, if a limit counts when that is. Raises TooLate.

    A slow ledger or a busy host makes it late by a little; then its start is recorded anew, and it keeps its place.
    """
    begin_by, tries = claim.begin_by, 0
    while begin_by is not None and time.monotonic() > begin_by:
        tries += 1
        begin_by = places.start_later(claim) if tries <= LATE_STARTS else None
        if begin_by is None:
            raise TooLate(f"{places.LATE} after the claim, {claim.seconds():.3f} s ago")


def _failed(claim: Claim, definition: Definition, error: BaseException) -> Ending:
    retry_in_s = _retry_in_s(claim, definition, error)
    failure = describe(error)
    depart = partial(claims.fail, claim, failure, retry_in_s=retry_in_s, alert_after=definition.alert_after)
    return Ending(depart, failure.message, error)


def _retry_in_s(claim: Claim, definition: Definition, error: BaseException) -> float | None:
    """When to try again; None: never."""
    if isinstance(error, (Permanent, InvalidPayload, *definition.permanent)):
        return None
    if isinstance(error, StepsFailed) and error.permanent:
        return None
    if claim.attempt + 1 >= claim.max_attempts:
        return None
    if isinstance(error, RetryIn):
        return error.seconds
    return backoff.delay_s(claim.attempt + 1, definition.backoff, definition.backoff_cap)


def end_timed_out(running: Running) -> bool:
    """Depart for a run that is out of time. Its later writes are fenced. False: it had departed by itself."""
    claim, definition = running.claim, registry.get(running.claim.name)
    allowed = definition.timeout or timedelta(seconds=longest_s(claim.queue))
    what = f"it ran longer than its time-out of {allowed.total_seconds():g} s"
    failure = Failure(
        kind="TimedOut", message=what, traceback=what, fingerprint=fingerprint("TimedOut", claim.name, "")
    )
    retry_in_s = _retry_in_s(claim, definition, TimeoutError(what))
    try:
        claims.fail(
            claim,
            failure,
            retry_in_s=retry_in_s,
            alert_after=definition.alert_after,
            outcome=Outcome.TIMED_OUT,
        )
    except LostClaim:
        return False
    return True


def describe(error: BaseException) -> Failure:
    """An error as the ledger keeps it."""
    lines = traceback.format_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1:] if error.__traceback__ else []
    where = f"{frame[0].name}" if frame else ""
    kind, message = type(error).__name__, storable_text(str(error))
    return Failure(
        kind=kind,
        message=message[:2000],
        traceback=storable_text("".join(lines))[-20_000:],
        fingerprint=fingerprint(kind, re.sub(r"[0-9a-f]{6,}|\d+", "#", message.lower())[:200], where),
        cause=error,
    )


def fingerprint(*parts: str) -> str:
    """Sixteen hex digits that are the same for failures of one cause."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def insist(write: Callable[[], T], seconds: float = TELL_LEDGER_S) -> T:
    """Write to the ledger, waiting for one that is away. Raises LedgerUnavailable after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            return write()
        except LedgerUnavailable:
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            pause = min(pause * 2, 2.0)
