"""Firing what is due: which due times a schedule's policies leave, and one transaction for each of them.

Any number of schedulers may do it at once. Each moves the row on from what it has read, and only one of them finds the
row unmoved.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
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

LOOK_S = 0.1  # What a look may take before the scheduler turns to its other work. The next look goes on from there.
AT_ONCE = 10  # Due times of one schedule that a look fires: nobody else's are to wait until hundreds are made up for.
MISSED_AFTER_S = 60.0  # A due time that passed longer ago is missed: under `skip` it is left out.
CANCEL_S = 0.05  # How long it waits for the row of a job that is to be replaced; it is asked again at the next look.
MOST_COUNTED = 1000  # Of due times that are left out: to count more would take longer than a look may.
CUT_AGAIN_S = 60.0  # For how long what a look has cut to `missed_max` needs no second look at all of it.
HELD_S = 10.0  # Who has a row locked for longer is frozen, and bound by none of the time-outs that ours have.
TELL_EVERY_S = 60.0  # How often it is logged that a schedule can't be fired, instead of at each tick.


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    fired: int  # Jobs that were made.
    through: bool  # Every schedule that was due had its turn, and has nothing left to make up for.


@dataclass(slots=True)
class _Memory:
    """Of a schedule, for as long as it is due."""

    tell_at: float = 0.0  # When to say again that it can't be fired.
    cut: tuple[str, float] = ("", 0.0)  # The version whose due times were cut to `missed_max`; until when that holds.
    held: tuple[Any, float] = (None, 0.0)  # What others hold or have moved on, and since when.


_memory: dict[str, _Memory] = {}
_turn = ""  # The schedule that was looked at last.


def fire_due() -> Looked:
    """Fire the schedules that are due, as their policies say, for as long as a look may take.

    One that can't be fired stays due and keeps no other. Raises LedgerUnavailable.
    """
    global _memory, _turn
    rows = schedules.due_now(_turn)
    until = time.monotonic() + LOOK_S
    _memory = memory = {row.name: _memory.get(row.name) or _Memory() for row in rows}
    fired, through = 0, len(rows) < schedules.MOST_SEEN
    for row in rows:
        _turn = row.name
        made, all_of_it = _tried(row, memory[row.name])
        fired += made
        through = through and all_of_it
        if time.monotonic() > until and row is not rows[-1]:
            return Looked(fired=fired, through=False)
    return Looked(fired=fired, through=through)


def _tried(row: Any, memory: _Memory) -> tuple[int, bool]:
    """As `_fire`, whatever is wrong with the schedule."""
    try:
        return _fire(row, memory)
    except LedgerUnavailable:
        raise
    except CeladonError as error:  # The job is not declared here, or the payload no longer fits it.
        if _to_tell(memory):
            log.error("schedule.unfit", schedule=row.name, job=row.job, due=_text(row.next_due), error=str(error))
    except Exception:
        if _to_tell(memory):
            log.exception("schedule.failed", schedule=row.name)
    return 0, True


def _fire(row: Any, memory: _Memory) -> tuple[int, bool]:
    """How many jobs it made, and whether that was all that is to be made now."""
    if schedules.previous_is_active(row) and not _may_go_on(row, memory):
        return 0, True
    if row.job not in registry.known():
        raise CeladonError(f"No job {row.job!r} is declared here; a scheduler of a release that has it will fire it")
    come = _next_due_times(row, memory)
    if not come:
        _leave_out(row, "missed", memory)
        return 0, True
    seen_due: datetime | None = row.next_due
    fired = 0
    for number, due_time in enumerate(come[: AT_ONCE if row.overlap == "allow" else 1], 1):  # Or it waits for its end.
        following = come[number] if number < len(come) else _following(row, due_time)
        if not _fire_one(row, seen_due, due_time, following, memory):
            return fired, True
        if number == 1 and due_time > row.next_due:
            _tell_left_out(row, "missed", _passed(row, due_time - due.LEAST))
        fired, seen_due = number, following
    if len(come) > AT_ONCE:
        memory.cut = row.version, time.monotonic() + CUT_AGAIN_S
    return fired, fired == len(come) or row.overlap != "allow"


def _fire_one(
    row: Any, seen_due: datetime | None, due_time: datetime, following: datetime | None, memory: _Memory
) -> bool:
    new = _job(row, due_time)
    try:
        if not schedules.fire(row, seen_due, due_time, following, new):
            _note_held(row, memory)
            return False
    except IntegrityError:
        if not schedules.has_fired(row.name, due_time):
            raise
        # Before the schedule was made anew, or before the database's clock was set back.
        log.warning("schedule.fired_before", schedule=row.name, due=_text(due_time))
        schedules.leave_out(row, seen_due, due_time, following)
        return False
    log.info("schedule.fired", schedule=row.name, job=row.job, job_id=new.id, due=_text(due_time))
    return True


def _may_go_on(row: Any, memory: _Memory) -> bool:
    """What the overlap policy says while the previous job has not ended."""
    if row.overlap == "skip":
        _leave_out(row, "overlap", memory)
    if row.overlap == "replace" and not row.previous_cancelled:
        try:
            return cancel(row.last_job, actor=f"schedule {row.name}"[:200], patience_s=CANCEL_S) in FINAL
        except LedgerUnavailable as held:  # By the job's own worker at the end of a step, or frozen there.
            log.info("schedule.not_replaced_yet", schedule=row.name, job_id=row.last_job, reason=str(held))
    return False


# --- due times --------------------------------------------------------------------------------------------------------


def due_times(row: Any) -> list[datetime]:
    """Of what has come since the row was fired last, the due times that its policy leaves, the oldest first."""
    most = row.missed_max if row.missed == "all" else 1
    come: list[datetime] = due.last(row.spec, row.next_due, _until(row), most)
    if len(come) < most and row.next_due not in come:
        come.insert(0, row.next_due)  # It came due by the rule as it was before it changed.
    if row.missed == "skip":
        missed = row.now - timedelta(seconds=MISSED_AFTER_S)
        # What waited for the previous job's end is late from then on, and nobody has missed it before.
        waited_until = row.previous_ended if row.overlap in ("queue", "replace") else None
        come = [one for one in come if max(one, waited_until or one) >= missed]
    return come


def _next_due_times(row: Any, memory: _Memory) -> list[datetime]:
    """The first of `due_times`, one more than a look fires, where it is known that none of them is too many."""
    version, until = memory.cut
    if row.version == version and time.monotonic() < until:
        return [row.next_due, *due.preview(row.spec, row.next_due, AT_ONCE, _until(row))]
    return due_times(row)


def _until(row: Any) -> datetime:
    now: datetime = row.now
    return now if row.ends_at is None else min(now, row.ends_at)


def _passed(row: Any, until: datetime) -> set[datetime]:
    """The due times that have come until then, but no more than the latest MOST_COUNTED and the first."""
    return {row.next_due, *due.last(row.spec, row.next_due, until, MOST_COUNTED)}


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


# --- what is told -----------------------------------------------------------------------------------------------------


def _leave_out(row: Any, why: str, memory: _Memory) -> None:
    passed = _passed(row, _until(row))
    if schedules.leave_out(row, row.next_due, max(passed), _following(row, max(passed))):
        _tell_left_out(row, why, passed)
    else:
        _note_held(row, memory)


def _tell_left_out(row: Any, why: str, passed: set[datetime]) -> None:
    log.warning(
        "schedule.left_out",
        schedule=row.name,
        why=why,
        since=_text(row.next_due),
        up_to=_text(max(passed)),
        due_times=f"{MOST_COUNTED} or more" if len(passed) >= MOST_COUNTED else len(passed),
        previous=row.last_job,
    )


def _note_held(row: Any, memory: _Memory) -> None:
    """Another scheduler has moved it on, or somebody has it locked: if it stays so, it is told."""
    what, since = memory.held
    now = time.monotonic()
    if what != (row.version, row.next_due):
        memory.held = (row.version, row.next_due), now
    elif now - since > HELD_S and _to_tell(memory):
        cure = "end the transaction that has its row locked"
        log.error("schedule.held", schedule=row.name, due=_text(row.next_due), seconds=round(now - since), cure=cure)


def _to_tell(memory: _Memory) -> bool:
    now = time.monotonic()
    if now < memory.tell_at:
        return False
    memory.tell_at = now + TELL_EVERY_S
    return True


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
