"""Submitting a job: first the ledger, then the broker, and a fallback that can't run it twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session, scoped_session

from celadon import admission, broker, fallback, joining, logs, outlook, registry, telemetry, tracing
from celadon.deadline import Abandoned, within
from celadon.delegation import belonging
from celadon.errors import InvalidOption, InvalidPayload, LedgerUnavailable, PayloadTooLarge, Refused
from celadon.ids import new_id
from celadon.jobs import NewJob, Receipt, Submitted
from celadon.ledger.claims import why_not
from celadon.ledger.storing import Stored, store
from celadon.pickup import heard
from celadon.queues import lane_of
from celadon.registry import Definition, storable
from celadon.settings import settings
from celadon.states import FINAL, State
from celadon.times import instant, seconds

log = logs.get("celadon.submit")

MAX_PRIORITY = 9  # Priorities are -9 to 9: enough to order by, few enough to keep in mind.


def submit(
    name: str,
    payload: Mapping[str, Any],
    *,
    key: str | None = None,
    run_at: datetime | None = None,
    delay: timedelta | float | None = None,
    expires_in: timedelta | float | None = None,
    queue: str | None = None,
    priority: int | None = None,
    tenant: str | None = None,
    confirm: bool | None = None,
    session: Session | scoped_session[Session] | None = None,
) -> Receipt:
    """Submit a job and say what became of it.

    name: of a declared job. payload: its parameters; checked before anything is stored.
    key: idempotency key, remembered for KEY_DAYS days; the same key again gives the first job back (`duplicate`),
    unless the payload or the tenant is another (KeyConflict).
    run_at, delay: when the job is due (an aware time; a timedelta or seconds). expires_in: not run unless claimed by
    then. queue: instead of the declared one. priority: -9 to 9, higher first where the ledger chooses the order.
    confirm: wait up to CONFIRM_MS ms for a worker to pick it up, and fall back if none does (None: as declared).
    session: an SQLAlchemy session on the ledger's database. The job joins its transaction: it exists if and only if
    the session commits; sending and falling back happen then, and the receipt says `pending` until then.

    Raises UnknownJob, UnknownQueue, InvalidPayload, PayloadTooLarge, InvalidOption, KeyConflict: nothing was written.
    LedgerUnavailable: nothing was accepted, unless its `job_id` can be found later. Refused: the broker is away and
    the job's policy is `refuse`; nothing will run.

    Not promised: that the job has run, or that it runs only in one process; the ledger's claim takes care of that.
    """
    began = time.monotonic()
    with telemetry.refusals(name):
        definition = registry.get(name)
        new = prepare(definition, payload, key, run_at, delay, expires_in, queue, priority, tenant)
        return accept(new, definition, definition.confirm if confirm is None else confirm, session, began)


def accept(
    new: NewJob,
    definition: Definition,
    confirm: bool,
    session: Session | scoped_session[Session] | None,
    began: float,
) -> Receipt:
    """Store a job that was prepared, and see to what follows. Raises what `submit` raises after that."""
    receipt = Receipt(job_id=new.id, outcome=Submitted.PENDING)
    if session is not None:
        return _join(session, new, definition, confirm, receipt, began)

    def ask(abandoned: Abandoned) -> Stored:
        return store(new, abandoned)

    job_id, state, fresh = within(settings().ledger_timeout_s, ask, job_id=new.id)
    if fresh:
        deliver(new, definition, state, confirm, receipt, began)
    else:
        receipt.job_id = job_id
        receipt.settle(Submitted.DUPLICATE, reason=used(new, state))
    telemetry.submitted(new.name, receipt, time.monotonic() - began)
    return receipt


def _join(
    session: Session | scoped_session[Session],
    new: NewJob,
    definition: Definition,
    confirm: bool,
    receipt: Receipt,
    began: float,
) -> Receipt:
    """Store it in the caller's transaction; what follows, and the telling, waits for its commit."""

    def committed(state: State) -> Receipt:
        deliver(new, definition, state, confirm, receipt, began)
        telemetry.submitted(new.name, receipt)
        return receipt

    joining.join(session, new, definition, receipt, committed)
    if receipt.outcome == Submitted.DUPLICATE:
        telemetry.submitted(new.name, receipt)
    return receipt


def deliver(
    new: NewJob, definition: Definition, state: State, confirm: bool, receipt: Receipt, began: float
) -> Receipt:
    """What follows the commit: send, confirm, fall back. The job is safe in the ledger whatever happens here.

    Raises Refused, and nothing else: to the submitter an error means that nothing was accepted.
    """
    try:
        return _deliver(new, definition, state, confirm, receipt, began)
    except Refused:
        raise
    except Exception as error:
        log.exception("submit.after_commit_failed", job_id=new.id)
        return receipt.settle(Submitted.DEFERRED, reason=stored_but(error))


def stored_but(error: Exception) -> str:
    return f"it is in the ledger; what was to follow failed ({type(error).__name__}), and is left to a scheduler"


def _deliver(
    new: NewJob, definition: Definition, state: State, confirm: bool, receipt: Receipt, began: float
) -> Receipt:
    if at_rest(new, state, receipt, waits_for(new, state)):
        return receipt
    if reason := off_broker(new):
        return fallback.fall_back(new, definition, receipt, began, reason)
    try:
        broker.send(new.id, new.name, new.queue, pickup=confirm)
    except broker.NotSent as error:
        return fallback.fall_back(new, definition, receipt, began, error.reason)
    if not confirm:
        return receipt.settle(Submitted.QUEUED)
    return _confirm(new, definition, receipt, began)


def waits_for(new: NewJob, state: State) -> str | None:
    """What a limited or paused job waits for; None: it does not, or somebody has just let it in."""
    if state != State.WAITING:
        return None
    return admission.let_in([new], within_s=settings().ledger_timeout_s).get(new.id)


def at_rest(new: NewJob, state: State, receipt: Receipt, waits_for: str | None) -> bool:
    """Whether nobody has to be told of the job now; its receipt then says why."""
    if state == State.SCHEDULED:
        receipt.settle(Submitted.SCHEDULED, reason=f"due later, on queue {new.queue!r}")
    elif waits_for is not None:
        receipt.settle(Submitted.WAITING, reason=waits_for)
    return state == State.SCHEDULED or waits_for is not None


def off_broker(new: NewJob) -> str | None:
    """Why the broker is not to be told of the job, if it is not."""
    if not settings().use_broker:
        return "the broker is switched off (USE_BROKER)"
    if outlook.switched_off(new.queue, new.name):
        return "an operator took it off the broker"
    return None


def used(new: NewJob, state: State) -> str:
    return f"the key {new.key!r} was used for this job, which is {state}"


def _confirm(new: NewJob, definition: Definition, receipt: Receipt, began: float) -> Receipt:
    """Wait for a worker's claim, unless nobody is there (fall back) or many jobs are before it (no failure)."""
    try:
        capacity = outlook.capacity(new.queue, new.name)
        before = within(settings().ledger_timeout_s, lambda _: outlook.backlog(new.queue, capacity), job_id=new.id)
    except LedgerUnavailable as error:
        return receipt.settle(Submitted.QUEUED, reason=f"sent; not confirmed, for the ledger went away: {error}")
    if capacity == 0:
        return fallback.fall_back(new, definition, receipt, began, "no live worker consumes its queue")
    if before > capacity:
        return receipt.settle(Submitted.QUEUED, reason=f"behind {before} or more jobs")
    worker = heard(new.id, settings().confirm_ms / 1000) or _claimant(new.id)
    if worker is not None:
        return receipt.settle(Submitted.PICKED_UP, by=worker, after_ms=_ms_since(began))
    return fallback.fall_back(
        new, definition, receipt, began, f"no worker picked it up within {settings().confirm_ms} ms"
    )


def _claimant(job_id: str) -> str | None:
    """Who claimed it, by its row: the rendezvous is quick, but only the row is the truth."""
    try:
        why = within(settings().ledger_timeout_s, lambda _: why_not(job_id), job_id=job_id)
    except LedgerUnavailable:
        return None
    return why.claimed_by if why.state == State.RUNNING or why.state in FINAL else None


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


def prepare(
    definition: Definition,
    payload: Mapping[str, Any],
    key: str | None,
    run_at: datetime | None,
    delay: timedelta | float | None,
    expires_in: timedelta | float | None,
    queue: str | None,
    priority: int | None,
    tenant: str | None,
    callback: str | None = None,
) -> NewJob:
    """What is to be stored. Raises what `submit` raises before it writes."""
    plain = definition.validate(payload)
    try:
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise InvalidPayload(
            f"The payload of {definition.name!r} is no JSON: {error}", problems=[f"payload: {error}"]
        ) from error
    size = len(text.encode())
    if size > settings().max_payload_bytes:
        raise PayloadTooLarge(
            f"The payload of {definition.name!r} has {size} bytes; at most {settings().max_payload_bytes} are allowed "
            "(MAX_PAYLOAD_BYTES). Store the data and submit its key"
        )
    delay_s, expires_s = seconds("delay", delay), seconds("expires_in", expires_in)
    if run_at is not None and delay is not None:
        raise InvalidOption("run_at and delay both say when the job is due; give one", option="run_at")
    run_at = instant("run_at", run_at)
    for what, value in (("key", key), ("tenant", tenant)):
        if value is not None and not storable(value):
            raise InvalidOption(
                f"{what}={value[:40]!r} has {len(value)} characters; 1 to 200 are allowed, none of them NUL",
                option=what,
            )
    if priority is not None and not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise InvalidOption(f"priority={priority}: -{MAX_PRIORITY} to {MAX_PRIORITY} are allowed", option="priority")
    delayed = bool(delay_s) or (run_at is not None and run_at > datetime.now(UTC))
    where = queue or definition.queue_of(delayed=delayed)
    lane_of(where)  # Raises UnknownQueue.
    attempts = belonging.attempts(definition.name, where, definition.attempts)
    return NewJob(
        id=new_id(),
        name=definition.name,
        queue=where,
        payload=plain,
        size=size,
        max_attempts=attempts,
        state=State.SCHEDULED if delayed else State.QUEUED,
        priority=priority or 0,
        run_at=run_at,
        delay_s=delay_s if delayed and run_at is None else None,
        expires_in_s=expires_s,
        tenant=tenant,
        scope=definition.scope_of(plain),
        trace=tracing.current(),
        key=key,
        key_scope=belonging.key_scope(definition.name, where),
        payload_hash=_hash(text, tenant, callback),
        callback=callback,
    )


def _hash(payload: str, tenant: str | None, callback: str | None) -> str:
    """What a key stands for. One of a tenant gives its job to no other. NUL is in none of the three."""
    told = payload + (f"\0{tenant}" if tenant else "") + (f"\0\0{callback}" if callback else "")
    return hashlib.sha256(told.encode()).hexdigest()
