"""Steps: the named parts of a job that are each done once, on whichever engine it runs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from celadon import drain
from celadon.errors import (
    Asleep,
    CancelRequested,
    Interrupted,
    LedgerUnavailable,
    LostClaim,
    Permanent,
    StepNameUsedTwice,
    StepsFailed,
)
from celadon.jobs import Claim, storable_text
from celadon.keeper import Running
from celadon.ledger import claims, marks
from celadon.ledger.db import session, translated
from celadon.settings import settings

MAX_NAME = 200
# Levels of a result: whoever reads it takes some calls for each, of the thousand that Python allows. The API takes no
# request that has more.
DEEPEST = 200
_HOLDING = (dict, list, tuple)
_KEYS = uuid.UUID("6f1c3a52-8a0e-5c55-9d0f-5b6f3f1f6a10")  # Namespace of the steps' idempotency keys.


def idempotency_key(scope: str, name: str) -> str:
    """The key that a step's outside effect carries: the same every time the step is tried."""
    return str(uuid.uuid5(_KEYS, f"{scope}\n{name}"))


class Steps:
    """Given to a job's function as its parameter `steps`.

    Code outside steps runs again on every retry and every wake-up; only what is in a step is done once.
    """

    def __init__(
        self,
        run: Running,
        *,
        permanent: tuple[type[Exception], ...] = (),
        budget_until: float | None = None,
        waits: bool = False,
    ) -> None:
        self._run = run
        self._claim = run.claim
        self._permanent: tuple[type[Exception], ...] = (Permanent, *permanent)
        self._budget_until = budget_until  # Monotonic; of an inline run.
        self._waits = waits  # Inline: a short sleep is waited out.
        self._seen: set[str] = set()
        self._asked_at = time.monotonic()
        self._collected: dict[str, Exception] | None = None

    @property
    def claim(self) -> Claim:
        """The job as this run has it: its id, queue, payload, and the tries that failed before."""
        return self._claim

    def run(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: Any,
        outside: bool = False,
        record: Callable[[Session, Any], None] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Do a step once and return its result; a step that is done returns its recorded result.

        name: unique in the job. fn: called as `fn(session, *args, **kwargs)`; what it writes through the session
        commits together with the step's mark, or not at all. No network in there: a transaction is open.

        outside=True: for mail, HTTP and the like. fn is called as `fn(*args, key=…, **kwargs)` with no transaction
        open, at least once, with the same idempotency key every time. `record(session, result)`, if given, writes
        in the transaction of the mark.

        The result must be JSON. Raises what fn raises, after recording it; inside `independent()` it is collected
        instead and None returned.
        """
        self._boundary(name)
        try:
            do = self._outside if outside else self._inside
            return do(name, fn, args, kwargs, record)
        except LedgerUnavailable:
            raise  # No step's error: the run can't go on.
        except Exception as error:
            if self._collected is None:
                raise
            self._collected[name] = error
            return None

    def done(self, name: str) -> bool:
        """Whether a step is marked done."""
        view = marks.step_views(self._claim.scope).get(name)
        return view is not None and view.state == "done"

    def sleep(self, name: str, seconds: float) -> None:
        """Go on no earlier than `seconds` after this step was first reached.

        The job goes back to the ledger and frees its worker; it burns no attempt. Inline, a sleep that fits the
        budget is waited out.
        """
        self._boundary(name)
        row = marks.start_sleep(self._claim, name, idempotency_key(self._claim.scope, name), seconds, self._run.lease_s)
        if row.state == "done":
            return
        left = (row.wake_at - row.now).total_seconds()
        if left > 0:
            if not self._waits or self._budget_until is None or time.monotonic() + left > self._budget_until:
                raise Asleep(row.wake_at)
            time.sleep(left)
        with session() as own:
            self._mark(own, name, None)

    @contextmanager
    def independent(self) -> Iterator[None]:
        """Steps inside do not depend on one another: each is tried, and their errors are raised together at the end.

        Raises StepsFailed. The job is dead only when no failed step can be tried again.
        """
        if self._collected is not None:
            raise RuntimeError("steps.independent() is open already; one block holds all independent steps")
        self._collected = {}
        try:
            yield
            errors = self._collected
        finally:
            self._collected = None
        if errors:
            raise StepsFailed(errors, permanent=all(isinstance(e, self._permanent) for e in errors.values()))

    def check(self) -> None:
        """Give way here if the job has to: a long loop without steps calls this. Raises only departures."""
        if self._run.lost or self._run.timed_out:
            raise LostClaim(f"job {self._claim.job_id}: the claim of epoch {self._claim.epoch} is gone")
        if drain.draining():
            raise Interrupted("the worker is stopping")
        if time.monotonic() - self._asked_at >= settings().renew_s:
            self._asked_at = time.monotonic()
            self._ask()
        if self._budget_until is not None and time.monotonic() > self._budget_until:
            raise Interrupted("the inline run is over its budget")

    def _ask(self) -> None:
        """Look into the ledger, now and then: a worker's parent can't tell its child what it hears."""
        try:
            cancelled = claims.asked_to_cancel(self._claim)
        except LedgerUnavailable:
            return
        if cancelled:
            raise CancelRequested("cancelled while it ran")

    def _boundary(self, name: str) -> None:
        if name in self._seen:
            raise StepNameUsedTwice(
                f"Step {name!r} is used twice in one run; a name is a step's identity, give each its own"
            )
        if not 0 < len(name) <= MAX_NAME:
            raise Permanent(f"a step's name has 1 to {MAX_NAME} characters; this one has {len(name)}")
        self._seen.add(name)
        self.check()

    def _inside(
        self,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        _record: Callable[[Session, Any], None] | None,
    ) -> Any:
        begun = marks.start(self._claim, name, idempotency_key(self._claim.scope, name), self._run.lease_s)
        if begun is not None:
            return begun.result
        try:
            with session() as own:
                # Another job of the same scope may have done it since; it is locked out from here on.
                with translated():
                    row = marks.lock(own, self._claim, name)
                if row.state == "done":
                    return row.result
                with _one_transaction(own, name):
                    result = as_json(name, fn(own, *args, **kwargs))
                    own.flush()
                self._mark(own, name, result)
                return result
        except Exception as error:
            self._record_failure(name, error)
            raise

    def _outside(
        self,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        record: Callable[[Session, Any], None] | None,
    ) -> Any:
        key = idempotency_key(self._claim.scope, name)
        begun = marks.start(self._claim, name, key, self._run.lease_s)
        if begun is not None:
            return begun.result
        try:
            result = as_json(name, fn(*args, key=key, **kwargs))
            with session() as own:
                if record is not None:
                    with translated():
                        row = marks.lock(own, self._claim, name)
                    if row.state == "done":
                        return row.result
                    with _one_transaction(own, name):
                        record(own, result)
                        own.flush()
                self._mark(own, name, result)
                return result
        except Exception as error:
            self._record_failure(name, error)
            raise

    def _mark(self, own: Session, name: str, result: Any) -> None:
        """Mark a step done and commit, the fence being the last statement before it."""
        with translated():
            marks.done(own.connection(), self._claim, name, result, self._run.lease_s)
            own.commit()

    def _record_failure(self, name: str, error: Exception) -> None:
        marks.failed(self._claim, name, storable_text(f"{type(error).__name__}: {error}"), self._run.lease_s)


def as_json(what: str, value: Any) -> Any:
    """The value if JSON can hold it, and readers can follow it. Raises Permanent that names what returned it."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Permanent(
            f"{what!r} returned {type(value).__name__}, which JSON can't hold ({error}); return plain data"
        ) from error
    if _is_deeper(value, DEEPEST):
        raise Permanent(f"{what!r} returned what is nested deeper than {DEEPEST} levels; return plainer data")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether more than so many objects and lists stand in each other."""
    level = [value]
    for _ in range(levels):
        holding = [each for each in level if isinstance(each, _HOLDING)]
        if not holding:
            return False
        level = [inner for each in holding for inner in (each.values() if isinstance(each, dict) else each)]
    return any(isinstance(each, _HOLDING) for each in level)


@contextmanager
def _one_transaction(own: Session, name: str) -> Iterator[None]:
    """Refuse a commit or rollback of the whole transaction inside a step: either parts the effect from its mark.

    Savepoints (`session.begin_nested()`) are free to come and go.
    """
    undone = False

    def committing(session: Session) -> None:
        if not session.in_nested_transaction():
            raise Permanent(
                f"step {name!r} called session.commit(); the platform commits it together with the mark (use flush)"
            )

    def rolled_back(_: Session, transaction: SessionTransaction) -> None:
        nonlocal undone
        undone = undone or not transaction.nested

    event.listen(own, "before_commit", committing)
    event.listen(own, "after_soft_rollback", rolled_back)
    try:
        yield
    finally:
        event.remove(own, "before_commit", committing)
        event.remove(own, "after_soft_rollback", rolled_back)
    if undone:
        raise Permanent(f"step {name!r} called session.rollback(); use session.begin_nested() to undo a part of it")
