"""What `delay()` and `apply_async()` of our tasks return: it reads like Celery's AsyncResult, from the ledger."""

from __future__ import annotations

from typing import Any

from celadon.errors import CeladonError, UnknownJobId
from celadon.jobs import JobView, Receipt
from celadon.ledger.looking import find, wait
from celadon.ledger.operating import cancel
from celadon.states import State

_CELERY = {
    State.RUNNING: "STARTED",
    State.SUCCEEDED: "SUCCESS",
    State.DEAD: "FAILURE",
    State.CANCELLED: "REVOKED",
}


class JobFailed(CeladonError):
    """The job is dead or was cancelled."""


class JobResult:
    """A submitted job."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self.id = self.task_id = receipt.job_id

    def __repr__(self) -> str:
        return f"<JobResult: {self.id}>"

    def job(self) -> JobView:
        """The job as it is now. Raises UnknownJobId (not committed yet, or pruned), LedgerUnavailable."""
        return self._found(find(self.id))

    @property
    def state(self) -> str:
        """Celery's word for the job's state: PENDING, RETRY, STARTED, SUCCESS, FAILURE or REVOKED."""
        view = find(self.id)
        if view is None:
            return "PENDING"
        return _CELERY.get(view.state, "RETRY" if view.attempt else "PENDING")

    status = state

    def ready(self) -> bool:
        return self.job().finished

    def successful(self) -> bool:
        return self.job().state == State.SUCCEEDED

    def failed(self) -> bool:
        return self.job().state == State.DEAD

    @property
    def result(self) -> Any:
        return self.job().result

    def get(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """The job's result.

        timeout: seconds (None: an hour). Raises TimeoutError, JobFailed (unless propagate=False).
        """
        limit = 3600.0 if timeout is None else timeout
        view = self._found(wait(self.id, limit))
        if not view.finished:
            raise TimeoutError(f"job {self.id} is still {view.state} after {limit:g} s")
        if view.state != State.SUCCEEDED and propagate:
            error = view.error or {"kind": view.state, "message": ""}
            raise JobFailed(f"job {self.id} is {view.state}: {error['kind']}: {error['message']}")
        return view.result

    def revoke(self, **_: Any) -> None:
        """Cancel it; of a running job a request, seen at its next step."""
        cancel(self.id)

    def _found(self, view: JobView | None) -> JobView:
        if view is None:
            raise UnknownJobId(f"There is no job {self.id!r}", job_id=self.id)
        return view
