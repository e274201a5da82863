"""The sandbox: a ledger of its own for the time of a test, and the one worker that it has."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from celadon import firing, outlook, plans, queues, registry
from celadon import schedules as operations
from celadon.app import load
from celadon.errors import CeladonError, Refused
from celadon.jobs import JobView, NewJob, Receipt, Submitted
from celadon.ledger import db, limits, moving
from celadon.ledger import schedules as rows
from celadon.ledger.looking import find
from celadon.registry import Definition
from celadon.run import Ran, Runner, run_job
from celadon.settings import overridden, settings
from celadon.states import State
from celadon.submit import at_rest, waits_for
from celadon.testing import clock, submissions, template
from celadon.testing.submissions import SubmittedJob

MOST_RUNS = 10_000  # Of one call of `run_due`: more than a test has jobs, and over within a minute when one never ends.
WORKER = "sandbox"
_open = Lock()  # Held by the one sandbox that is open.

# The modules: in the package the name `celadon.submit` is the function.
_submit: Any = import_module("celadon.submit")
_bulk: Any = import_module("celadon.bulk")

_ASK_FOR_DUE_TIMES = (firing, plans, operations, rows)  # They are to go by the clock that the test moves.


class Sandbox:
    """What a test asks of its sandbox. Made by `sandbox()`."""

    def __init__(self, *, at_once: bool, schedules: bool) -> None:
        self._at_once = at_once
        self._schedules = schedules
        self._rules = clock.Rules()
        self.ledger_url = settings().ledger_url
        """For an engine of your own on the same database."""

    def submitted(self, name: str | None = None) -> list[SubmittedJob]:
        """What was submitted and committed, in order: all of it, or the jobs of one name."""
        return submissions.submitted(name)

    def assert_submitted(
        self,
        name: str,
        *,
        payload: Mapping[str, Any] | None = None,
        key: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        tenant: str | None = None,
    ) -> SubmittedJob:
        """Assert that such a job was submitted, and return the first one. What is None is not asked.

        payload: all of it; fields with a default may be left out.

        Raises AssertionError, which tells what was submitted instead; UnknownJob and InvalidPayload if there can be no
        such job.
        """
        __tracebackhide__ = True
        definition = registry.get(name)
        asked = {
            "payload": None if payload is None else definition.validate(payload),
            "key": key,
            "queue": queue,
            "priority": priority,
            "tenant": tenant,
        }
        everything = self.submitted()
        found = submissions.those([one for one in everything if one.name == name], asked)
        if not found:
            facts = "".join(f" {what}={value!r}" for what, value in asked.items() if value is not None)
            told = "".join(f"\n  {one}" for one in everything) or " nothing"
            raise AssertionError(f"{name}{facts} was not submitted. Submitted was:{told}")
        return found[0]

    def run_due(self, *, raises: bool = False) -> list[JobView]:
        """Run whatever is due, and what becomes due by it, until nothing is. Returns the jobs that ran, in order.

        They run through the platform's own run function: claim, steps, retries, time-outs, alerts. raises: raise what
        a job raised, as soon as it has; otherwise look at `view.error`.

        Raises AssertionError when there is no end to it.
        """
        ran: dict[str, None] = {}
        runs = 0
        while ids := self._due():
            for job_id in ids:
                if runs == MOST_RUNS:
                    due = find(job_id)
                    raise AssertionError(
                        f"{MOST_RUNS} runs, and jobs are still due, {due and due.name!r} among them: does it submit "
                        "itself, or retry without a pause?"
                    )
                runs += 1
                run = self._run(job_id)
                if run.claim is not None:  # Else it was cancelled meanwhile, say, by one that ran before it.
                    ran[job_id] = None
                if raises and run.cause is not None:
                    raise run.cause
        views = (find(job_id) for job_id in ran)
        return [view for view in views if view is not None]

    def advance(self, span: timedelta) -> None:
        """Let time pass for the ledger: due times, pauses before retries, sleeps, expiry, keys. Runs nothing.

        It is the ledger that grows older: what it tells of times moves back by the span. The clock of your own code
        does not move.
        """
        self._rules.passed += clock.advance(span)

    def _due(self) -> list[str]:
        if self._schedules:
            while (looked := firing.fire_due()).fired and not looked.through:
                pass
        moving.promote()
        moving.release()
        moving.hold_unplaced()
        limits.release()
        moving.expire()
        return moving.queued_ids(queues.names(), registry.known(), limit=100)

    def _run(self, job_id: str) -> Ran:
        # Like a worker's slot, so that a sleep gives the job back; alone, so that no job is left for want of it.
        return run_job(job_id, Runner(worker=WORKER, alone=True, exclusive=True))

    def _deliver(
        self, new: NewJob, definition: Definition, state: State, confirm: bool, receipt: Receipt, began: float
    ) -> Receipt:
        """In place of the broker: the worker takes the job at once, or has not come to it yet."""
        if at_rest(new, state, receipt, waits_for(new, state)):
            return receipt
        if not self._at_once:
            return receipt.settle(Submitted.QUEUED)
        after_ms = round((time.monotonic() - began) * 1000, 1)
        self._run(new.id)
        return receipt.settle(Submitted.PICKED_UP, by=WORKER, after_ms=after_ms)

    def _deliver_many(self, jobs: Mapping[int, Any], began: float) -> dict[str, Refused]:
        for job in jobs.values():
            self._deliver(job.new, job.definition, State.QUEUED, False, job.receipt, began)
        return {}  # Nothing is refused here.


@contextmanager
def sandbox(*, at_once: bool = False, schedules: bool = False) -> Iterator[Sandbox]:
    """A ledger of its own while the block runs, empty and migrated; no broker, no worker process.

    `submit` stores jobs there, also through `celadon.ledger.session()`, and answers `queued`; they run when
    `box.run_due()` is called. at_once: they run before `submit` (or the commit it joins) returns, which then answers
    `picked_up`. schedules: `run_due` fires `celeryconfig.beat_schedule` too.

    It holds for the whole process, so one can be open at a time. Raises CeladonError for a second one.
    """
    if not _open.acquire(blocking=False):
        raise CeladonError("A sandbox is open already; a process has one ledger at a time")
    try:
        load()  # Now: what the jobs' modules make of the settings is to be made of the real ones.
        with TemporaryDirectory(prefix="celadon-sandbox-") as folder, ExitStack() as afterwards:
            afterwards.callback(_forget)  # However it ends, and when the settings are as before.
            # A busy machine may take its time; what a test waits for is not what a request waits for.
            own = {"ledger_url": template.fresh(Path(folder)), "use_broker": "false", "ledger_timeout_s": "30"}
            afterwards.enter_context(overridden(**own))
            _forget()
            template.hurry()
            if schedules:
                from celadon.beat import sync

                sync()
            box = Sandbox(at_once=at_once, schedules=schedules)
            for module in _ASK_FOR_DUE_TIMES:
                afterwards.enter_context(_instead(module, due=box._rules))
            afterwards.enter_context(_instead(operations, rule_of=box._rules.rule_of))
            with _instead(_submit, deliver=box._deliver), _instead(_bulk, _deliver=box._deliver_many):
                yield box
    finally:
        _open.release()


@contextmanager
def _instead(module: Any, **functions: Any) -> Iterator[None]:
    """Put functions in the place of a module's own while the block runs."""
    own = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(own)


def _forget() -> None:
    """Let go of the ledger that was in use, and of what is remembered of it."""
    db.reset()
    outlook.forget()
