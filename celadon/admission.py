"""Letting limited jobs in without waiting for the scheduler: a release of one's own, and the broker told of it at once.

Who does it only makes it quicker. What is not released here, or not told, the scheduler's releaser and sender see to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import NamedTuple

from celadon import broker, logs, outlook
from celadon.deadline import Abandoned, within
from celadon.errors import LedgerUnavailable
from celadon.jobs import Claim, NewJob
from celadon.ledger import gates, limits, sending, waiting
from celadon.ledger.db import reading
from celadon.ledger.gates import Group
from celadon.ledger.sending import ToSend
from celadon.ledger.together import Together
from celadon.settings import settings

log = logs.get("celadon.admission")

MOST = 20  # Jobs that one submission or one end of a run lets go beside its own.
AGAIN_S = 0.5  # When the sender tries what could not be told.
UNKNOWN = "it is paused or limited"  # What a job waits for, when the ledger can't be asked.


def let_in(new: Sequence[NewJob], *, within_s: float) -> dict[str, str]:
    """Release what has a turn at the gates of jobs just stored; those of them that wait all the same, and for what.

    Any other of them may go, and its message is for the caller to send; those of others are sent here. within_s: how
    long the ledger may take over the release; what it has not committed by then is undone. Raises nothing: the jobs are
    stored, whatever goes wrong here.
    """
    let = _Let(set(), ())
    with _told():
        let = within(within_s, lambda abandoned: _let_in(_Asked(new, abandoned)), job_id="")
        tell(let.others)
    return why_waiting([job for job in new if job.id not in let.mine])


class _Asked(NamedTuple):
    new: Sequence[NewJob]
    abandoned: Abandoned


class _Let(NamedTuple):
    mine: Set[str]  # By their ids.
    others: Sequence[ToSend]  # Who nobody else tells the broker of.


def _release_for(asked: _Asked) -> _Let:
    return _release_for_all([asked])[0]


def _release_for_all(asked: Sequence[_Asked]) -> list[_Let]:
    new = [job for one in asked for job in one.new]
    at = {gate for job in new for gate in _gates(job.queue, job.name, job.tenant)}

    def check() -> None:
        for one in asked:
            one.abandoned.check()

    released = limits.release(at, most=min(MOST + len(new), limits.BATCH), sends=True, check=check)
    ids, mine = {job.job_id for job in released}, {job.id for job in new}
    others = [job for job in released if job.job_id not in mine]
    return [_Let(ids & {job.id for job in one.new}, () if place else others) for place, one in enumerate(asked)]


_let_in: Together[_Asked, _Let] = Together(_release_for, _release_for_all)


def give_on(claim: Claim) -> None:
    """A run that a limit counted is over: let the next go in its place. Raises nothing.

    For what ends at the same moment in a process there is one release.
    """
    with _told():
        _give_on(frozenset(_gates(claim.queue, claim.name, claim.tenant)))


def _release(at: Set[tuple[str, str]], ended: int = 1) -> None:
    tell(limits.release(at, most=min(MOST * ended, limits.BATCH), sends=True, made_room=True))


def _release_all(ended: Sequence[frozenset[tuple[str, str]]]) -> list[None]:
    _release(frozenset().union(*ended), len(ended))
    return [None] * len(ended)


_give_on: Together[frozenset[tuple[str, str]], None] = Together(_release, _release_all)


def why_waiting(stored: Sequence[NewJob]) -> dict[str, str]:
    """Those of these jobs that wait now, by their ids, and what holds each, in words for a receipt.

    One that seemed to wait may not: a scheduler may have let it in meanwhile. Raises nothing.
    """

    def ask(_: object) -> dict[str, str]:
        with reading() as connection:
            still = waiting.still(connection, [job.id for job in stored])
            pairs, tenants = {(job.queue, job.name) for job in stored}, {job.tenant for job in stored if job.tenant}
            standing = {gate.id: gate for gate in gates.standing_before(connection, pairs, tenants)}
        return {
            job.id: gates.why_waiting(standing, Group(job.queue, job.name, job.tenant or ""))
            for job in stored
            if job.id in still
        }

    if not stored:
        return {}
    with _told():
        return within(settings().ledger_timeout_s, ask, job_id="")
    return dict.fromkeys((job.id for job in stored), UNKNOWN)


def why_held(new: NewJob) -> str:
    """What holds a job whose claim was refused. Raises nothing."""
    return why_waiting([new]).get(new.id, UNKNOWN)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong after a commit is told in the log, and to nobody else: the job is stored, or the run over."""
    try:
        yield
    except LedgerUnavailable as away:
        log.info("admission.ledger_away", reason=str(away))
    except Exception:
        log.exception("admission.failed")


def tell(released: Sequence[ToSend]) -> None:
    """Tell the broker of jobs that were released; what it can't be told stays with the sender.

    Raises LedgerUnavailable: the sender will see to them a little later than it could.
    """
    if not released:
        return
    to_tell = [job for job in released if not _off(job)]
    try:
        if to_tell:
            broker.send_many(to_tell)
    except broker.NotSent as error:
        log.info("admission.not_sent", jobs=len(to_tell), reason=error.reason)
    else:
        released = [job for job in released if job not in to_tell]
    if released:
        ids = [job.job_id for job in released]
        within(settings().ledger_timeout_s, lambda _: sending.not_sent(ids, again_in_s=AGAIN_S), job_id="")


def _off(job: ToSend) -> bool:
    return not settings().use_broker or outlook.switched_off(job.queue, job.name)


def _gates(queue: str, name: str, tenant: str | None) -> Collection[tuple[str, str]]:
    return Group(queue, name, tenant or "").gates
