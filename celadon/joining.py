"""Submitting inside a caller's transaction: the job exists if and only if the caller's rows do."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from celadon import logs
from celadon.errors import InvalidOption
from celadon.jobs import NewJob, Receipt, Submitted
from celadon.ledger.db import engine, is_ledger, translated
from celadon.ledger.writing import insert_job
from celadon.registry import Definition
from celadon.states import State

log = logs.get("celadon.joining")
_PENDING = "celadon.pending"  # Where a session remembers what to deliver when it commits,
_COMMITTED = "celadon.committed"  # and that it has, until its transaction is over.
_ROLLED_BACK = "rolled back: nothing was submitted"


def join(
    given: Session | scoped_session[Session],
    new: NewJob,
    definition: Definition,
    receipt: Receipt,
    deliver: Callable[[State], Receipt],
) -> Receipt:
    """Insert through the session; deliver after its outer commit.

    Raises InvalidOption, KeyConflict, LedgerUnavailable.
    """
    # Listening to a registry would be listening to every session that it makes.
    session = given() if isinstance(given, scoped_session) else given
    if not isinstance(session, Session):
        raise InvalidOption(
            f"session= is of {type(session).__name__}; give an SQLAlchemy Session (of an AsyncSession its "
            "`sync_session`, inside `run_sync`)"
        )
    if not is_ledger(session.get_bind()):
        raise InvalidOption(
            f"session= is bound to {session.get_bind().engine.url!r}, but the ledger is {engine().url!r}; "
            "a job can only join a transaction of the ledger's own database (use celadon.ledger.session())"
        )
    if definition.fallback_on(new.queue) == "refuse":
        raise InvalidOption(
            f"{new.name!r} has fallback='refuse', which can't be kept inside your transaction: the refusal would come "
            "after your commit. Submit it after the commit, or declare fallback='defer'"
        )
    with translated():
        job_id, state, fresh = insert_job(session.connection(), new)
    if not fresh:
        receipt.job_id = job_id
        return receipt.settle(
            Submitted.DUPLICATE, reason=f"the key {new.key!r} was used for this job, which is {state}"
        )
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_soft_rollback", _rolled_back)
        event.listen(session, "after_transaction_end", _ended)
    session.info[_PENDING].append((receipt, state, deliver, session.get_nested_transaction()))
    return receipt


def _committed(session: Session) -> None:
    if not session.in_nested_transaction():  # Else a savepoint was released; the outer one may still roll back.
        session.info[_COMMITTED] = True


def _rolled_back(session: Session, transaction: SessionTransaction) -> None:
    """Forget what the rollback undid: everything, or what was submitted inside the savepoint."""
    kept = []
    for pending in session.info[_PENDING]:
        if transaction.nested and not _inside(pending[3], transaction):
            kept.append(pending)
        else:
            pending[0].reason = _ROLLED_BACK
    session.info[_PENDING] = kept


def _ended(session: Session, transaction: SessionTransaction) -> None:
    """Deliver what was committed. Not before: a job that runs here may use this very session."""
    if transaction.parent is not None:
        return
    waiting, session.info[_PENDING] = session.info[_PENDING], []
    if not session.info.pop(_COMMITTED, False):
        # A session that is closed without a commit rolls back without saying so.
        for receipt, *_ in waiting:
            receipt.reason = _ROLLED_BACK
        return
    for receipt, state, deliver, _ in waiting:
        try:
            deliver(state)
        except Exception as error:
            # The caller's commit has happened and must not seem to have failed; the ledger has the job.
            log.exception("submit.after_commit_failed", job_id=receipt.job_id)
            receipt.settle(
                Submitted.DEFERRED,
                reason=f"it is in the ledger, but telling the broker failed ({type(error).__name__})",
            )


def _inside(savepoint: SessionTransaction | None, transaction: SessionTransaction) -> bool:
    while savepoint is not None and savepoint is not transaction:
        savepoint = savepoint.parent
    return savepoint is transaction
