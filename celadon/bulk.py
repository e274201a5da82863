"""Submitting many jobs at once: one transaction for all that can be accepted, one connection to tell the broker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celadon import admission, broker, fallback, logs, registry, telemetry
from celadon.deadline import Abandoned, within
from celadon.errors import CeladonError, InvalidOption, KeyConflict, LedgerUnavailable, Refused
from celadon.jobs import NewJob, Receipt, Submitted
from celadon.ledger.claims import WhyNot, why_not
from celadon.ledger.db import begin
from celadon.ledger.writing import insert_job, withdraw
from celadon.settings import settings
from celadon.states import State
from celadon.submit import at_rest, off_broker, prepare, stored_but, used

log = logs.get("celadon.submit")

MAX_JOBS = 1000  # A transaction of so many takes well under a second, during which SQLite takes no other write.
# What a job may add to the time the ledger is given: some ten times what it takes. To give up a bulk that is only slow
# would cost more than to wait five seconds until a ledger that hangs is found out.
PER_JOB_S = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """One job of a bulk; the fields mean what they mean to `submit`."""

    name: str
    payload: Mapping[str, Any]
    key: str | None = None
    run_at: datetime | None = None
    delay: timedelta | float | None = None
    expires_in: timedelta | float | None = None
    queue: str | None = None
    priority: int | None = None
    tenant: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prepared:
    new: NewJob
    definition: registry.Definition
    receipt: Receipt


def submit_many(submissions: Sequence[Submission]) -> list[Receipt | CeladonError]:
    """Submit up to 1,000 jobs; in their order, the receipt of each, or the error for which it was refused.

    Each is judged by itself: what can't be accepted (UnknownJob, UnknownQueue, InvalidPayload, PayloadTooLarge,
    InvalidOption, KeyConflict) keeps nothing else from being accepted. The others are stored in one transaction, all
    or none. A key that stands twice in the list gives the first one's job to both.

    A bulk never waits for a worker and never runs anything here: while the broker is away, jobs that would run inline
    are `deferred` to the ledger, where workers find them. Jobs whose policy is `refuse` are refused (Refused).

    Raises LedgerUnavailable: nothing was accepted, unless its `job_id` can be found; then all were. With a key for
    each job the list may simply be submitted again. It takes up to 4 ms a job longer than with `submit` to say so.
    InvalidOption: more than 1,000.
    """
    if len(submissions) > MAX_JOBS:
        raise InvalidOption(f"{len(submissions)} jobs at once: at most {MAX_JOBS} are allowed; submit them in parts")
    began = time.monotonic()
    results: list[Receipt | CeladonError] = []
    jobs: dict[int, _Prepared] = {}
    for index, one in enumerate(submissions):
        try:
            jobs[index] = _prepare(one)
            results.append(jobs[index].receipt)
        except CeladonError as error:
            results.append(error)
    try:
        stored = _store(jobs) if jobs else {}
    except CeladonError as away:
        _tell(submissions, [away] * len(submissions))
        raise
    unsent: dict[int, _Prepared] = {}
    held = _let_in([jobs[index].new for index, outcome in stored.items() if _waits(outcome)])
    for index, outcome in stored.items():
        job = jobs[index]
        if isinstance(outcome, KeyConflict):
            results[index] = outcome
        elif not outcome[2]:
            job.receipt.job_id = outcome[0]
            job.receipt.settle(Submitted.DUPLICATE, reason=used(job.new, outcome[1]))
        elif not at_rest(job.new, outcome[1], job.receipt, held.get(job.new.id)):
            unsent[index] = job
    try:
        refused = _deliver(unsent, began)
    except Exception as error:
        # All of them are stored: an error would say that none is.
        log.exception("submit.after_commit_failed", jobs=len(unsent))
        refused = {}
        for job in unsent.values():
            if job.receipt.outcome == Submitted.PENDING:
                job.receipt.settle(Submitted.DEFERRED, reason=stored_but(error))
    for index, result in enumerate(results):
        # Also in the place of another that has the same key: its job is the one that was taken back.
        if isinstance(result, Receipt) and result.job_id in refused:
            results[index] = refused[result.job_id]
    _tell(submissions, results)
    return results


def _tell(submissions: Sequence[Submission], results: Sequence[Receipt | CeladonError]) -> None:
    for one, result in zip(submissions, results, strict=True):
        if isinstance(result, Receipt):
            telemetry.submitted(one.name, result)
        else:
            telemetry.refused(one.name, result)


def _prepare(one: Submission) -> _Prepared:
    definition = registry.get(one.name)
    new = prepare(
        definition,
        one.payload,
        one.key,
        one.run_at,
        one.delay,
        one.expires_in,
        one.queue,
        one.priority,
        one.tenant,
    )
    return _Prepared(new=new, definition=definition, receipt=Receipt(job_id=new.id, outcome=Submitted.PENDING))


def _store(jobs: Mapping[int, _Prepared]) -> dict[int, tuple[str, State, bool] | KeyConflict]:
    """Insert all in one transaction. Raises LedgerUnavailable."""

    def store(abandoned: Abandoned) -> dict[int, tuple[str, State, bool] | KeyConflict]:
        stored: dict[int, tuple[str, State, bool] | KeyConflict] = {}
        with begin() as connection:
            # Keys are taken in one order, so that two bulks which share some wait for each other and never deadlock.
            for index, job in sorted(jobs.items(), key=lambda item: (item[1].new.name, item[1].new.key or "", item[0])):
                abandoned.check()
                try:
                    stored[index] = insert_job(connection, job.new)
                except KeyConflict as conflict:
                    stored[index] = conflict
            abandoned.check()
        return stored

    # A job with a key may be another's duplicate, and its own id never stored: one without tells for all.
    telling = min(jobs.values(), key=lambda job: job.new.key is not None)
    return within(_patience(len(jobs)), store, job_id=telling.new.id)


def _waits(outcome: tuple[str, State, bool] | KeyConflict) -> bool:
    return not isinstance(outcome, KeyConflict) and outcome[1:] == (State.WAITING, True)


def _let_in(waiting: Sequence[NewJob]) -> dict[str, str]:
    return admission.let_in(waiting, within_s=_patience(len(waiting))) if waiting else {}


def _deliver(jobs: Mapping[int, _Prepared], began: float) -> dict[str, Refused]:
    """Tell the broker of those that it is to be told of; what was not, or only maybe, sent falls back.

    Returns the refusals, by the job's id.
    """
    reasons = {index: off_broker(job.new) for index, job in jobs.items()}
    to_send = [index for index, reason in reasons.items() if reason is None]
    try:
        if to_send:
            broker.send_many((jobs[index].new.id, jobs[index].new.name, jobs[index].new.queue) for index in to_send)
    except broker.NotSent as error:
        reasons |= dict.fromkeys(to_send, error.reason)
    for index, job in jobs.items():
        if reasons[index] is None:
            job.receipt.settle(Submitted.QUEUED)
    return _fall_back([(jobs[index], reason) for index, reason in reasons.items() if reason is not None], began)


def _fall_back(falling: Sequence[tuple[_Prepared, str]], began: float) -> dict[str, Refused]:
    """As fallback.fall_back, but nothing runs here, and all that refuse are taken back in one transaction."""
    refusing = {job.new.id: reason for job, reason in falling if job.definition.fallback_on(job.new.queue) == "refuse"}

    def take_back(abandoned: Abandoned) -> dict[str, WhyNot | None]:
        with begin() as connection:
            found = {
                job_id: None if withdraw(connection, job_id, reason) else why_not(job_id)
                for job_id, reason in refusing.items()
            }
            abandoned.check()
        return found

    found: dict[str, WhyNot | None] = {}
    away = ""
    if refusing:
        try:
            found = within(_patience(len(refusing)), take_back, job_id="")
        except LedgerUnavailable as error:
            away = f"; then the ledger went away: {error}"
    refused: dict[str, Refused] = {}
    for job, reason in falling:
        new, receipt = job.new, job.receipt
        policy = "refuse" if new.id in refusing else "defer"
        fallback.log.info("submit.fell_back", job_id=new.id, job=new.name, policy=policy, reason=reason)
        if new.id not in found:
            receipt.settle(Submitted.DEFERRED, reason=reason + away if new.id in refusing else reason)
        elif (why := found[new.id]) is not None:
            fallback.somebody_else(new, why, receipt, began, reason)
        else:
            refused[new.id] = fallback.refusal(new, reason)
    return refused


def _patience(count: int) -> float:
    """How long the ledger may take over so many jobs."""
    return settings().ledger_timeout_s + PER_JOB_S * count
