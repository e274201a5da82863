"""Firing what is due: which due times a schedule's policies leave, and one transaction for each of them.

Any number of schedulers may do it at once. Each moves the row on from what it has read, and only one of them finds the
row unmoved.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError

from celadon import due, logs, registry
from celadon.errors import CeladonError, LedgerUnavailable
from celadon.ids import new_id
from celadon.jobs import NewJob
from celadon.ledger import schedules
from celadon.ledger.operating import cancel
from celadon.plans import job_of
from celadon.states import FINAL, State

log = logs.get("celadon.scheduler")

MISSED_AFTER_S = 60.0  # A due time that passed longer ago is missed: under `skip` it is left out.
AT_ONCE = 10  # Due times of one schedule that a look fires: nobody else's are to wait until hundreds are made up for.
TELL_EVERY_S = 60.0  # How often it is logged that a schedule can't be fired, instead of at each tick.

_told: dict[str, float] = {}  # Schedules that can't be fired, and when to say so again.


def fire_due() -> int:
    """Fire every schedule that is due, as its policies say; how many jobs that made.

    One that can't be fired stays due and keeps no other. Raises LedgerUnavailable.
    """
    rows = schedules.due_now()
    for name in _told.keys() - {row.name for row in rows}:
        del _told[name]
    fired = 0
    for row in rows:
        try:
            fired += _fire(row)
        except LedgerUnavailable:
            raise
        except CeladonError as error:  # The job is not declared here, or the payload no longer fits it.
            if _to_tell(row.name):
                log.error("schedule.unfit", schedule=row.name, job=row.job, due=_text(row.next_due), error=str(error))
        except Exception:
            if _to_tell(row.name):
                log.exception("schedule.failed", schedule=row.name)
    return fired


def due_times(row: Any) -> list[datetime]:
    """Of what has come since the row was fired last, the due times to fire now, the oldest first."""
    until = row.now if row.ends_at is None else min(row.now, row.ends_at)
    most = row.missed_max if row.missed == "all" else 1
    come: list[datetime] = due.last(row.spec, row.next_due, until, most)
    if len(come) < most and row.next_due not in come:
        come.insert(0, row.next_due)  # It came due by the rule as it was before it changed.
    if row.missed == "skip" and not _was_held(row, come[-1]):
        late = timedelta(seconds=MISSED_AFTER_S)
        come = [one for one in come if row.now - one <= late]
    return come


def _was_held(row: Any, due_time: datetime) -> bool:
    """Whether the due time only waited for the previous job's end: it is late then, and nobody has missed it."""
    return row.previous_ended is not None and row.previous_ended >= due_time


def _fire(row: Any) -> int:
    if schedules.previous_is_active(row) and not _may_go_on(row):
        return 0
    if row.job not in registry.known():
        raise CeladonError(f"No job {row.job!r} is declared here; a scheduler of a release that has it will fire it")
    come = due_times(row)
    if not come:
        _leave_out(row, "missed")
        return 0
    seen_due: datetime | None = row.next_due
    fired = 0
    for number, due_time in enumerate(come[:AT_ONCE], 1):
        new = _job(row, due_time)
        following = come[number] if number < len(come) else _following(row, due_time)
        try:
            if not schedules.fire(row, seen_due, due_time, following, new):
                break
        except IntegrityError:
            if not schedules.has_fired(row.name, due_time):
                raise
            # Before the schedule was made anew, or before the database's clock was set back.
            log.warning("schedule.fired_before", schedule=row.name, due=_text(due_time))
            schedules.leave_out(row, seen_due, due_time, following)
            break
        fired += 1
        log.info("schedule.fired", schedule=row.name, job=row.job, job_id=new.id, due=_text(due_time))
        seen_due = following
        if row.overlap != "allow":
            break  # The rest waits for this one's end.
    return fired


def _may_go_on(row: Any) -> bool:
    """What the overlap policy says while the previous job has not ended."""
    if row.overlap == "skip":
        _leave_out(row, "overlap")
    if row.overlap == "replace" and not row.previous_cancelled:
        return cancel(row.last_job, actor=f"schedule {row.name}"[:200]) in FINAL
    return False


def _leave_out(row: Any, why: str) -> None:
    until = row.now if row.ends_at is None else min(row.now, row.ends_at)
    up_to = due.last(row.spec, row.next_due, until, 1) or [row.next_due]
    if schedules.leave_out(row, row.next_due, up_to[-1], _following(row, up_to[-1])):
        log.warning(
            "schedule.left_out",
            schedule=row.name,
            why=why,
            since=_text(row.next_due),
            up_to=_text(up_to[-1]),
            previous=row.last_job,
        )


def _following(row: Any, due_time: datetime) -> datetime | None:
    return due.within(row.spec, due_time, row.starts_at, row.ends_at)


def _job(row: Any, due_time: datetime) -> NewJob:
    # It goes in as due later, so that the promotion of the same tick queues and sends it like everything else.
    return replace(
        job_of(row.job, row.payload, row.queue),
        id=new_id(),
        state=State.SCHEDULED,
        run_at=due_time + due.jitter(row.name, due_time, row.jitter_s),
        schedule=row.name,
        due=due_time,
    )


def _to_tell(name: str) -> bool:
    now = time.monotonic()
    if now < _told.get(name, 0.0):
        return False
    _told[name] = now + TELL_EVERY_S
    return True


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
