"""What a delivery that did not succeed sent, and what it got: the last one of each job.

For whoever looks for why, and for the job's next run: it has to know whether the service may be at the job already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import Boolean, Connection, Float, Integer, Text, and_, case, delete, func, literal, select, update

from celadon.jobs import AnswerView, Claim, DeliveryView, RequestView, storable_text
from celadon.ledger.db import at, begin, reading
from celadon.ledger.fencing import MINE, this
from celadon.ledger.places import LATE
from celadon.ledger.tables import JSON, attempts, deliveries, jobs
from celadon.ledger.writing import upsert
from celadon.secret_names import is_secret
from celadon.states import Outcome

BODY_MOST = 4096  # Characters of a body that are kept.
HEADERS_MOST = 50
HEADER_MOST = 500
MASKED = "•••"


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """What is known of a job's runs before this one.

    tries: those that failed, before a replay too: no number is ever delivered as another try. in_doubt: the service may
    have the job, and nobody knows what became of it. kept: something is kept of them. expired: the job's time is over.
    """

    tries: int = 0
    in_doubt: bool = False
    kept: bool = False
    expired: bool = False


def masked(headers: Mapping[str, str], *, also: Iterable[str] = ()) -> dict[str, str]:
    """Headers without what opens doors or proves who somebody is, by their names, and no more of them than is read.

    also: names of headers that may be secret though their names don't say so.
    """
    hidden = {name.lower() for name in also}

    def shown(name: str, value: str) -> str:
        return MASKED if name.lower() in hidden or is_secret(name) else storable_text(value[:HEADER_MOST])

    return {
        storable_text(name[:HEADER_MOST]): shown(name, value) for name, value in list(headers.items())[:HEADERS_MOST]
    }


def cut(body: bytes) -> str:
    """A body as text, no longer than it is kept."""
    text = storable_text(body[: 4 * BODY_MOST].decode("utf-8", "replace"))
    return text if len(text) <= BODY_MOST else f"{text[:BODY_MOST]}… ({len(body)} bytes)"


_SENT = ("seconds", "request", "answer")


def keep(
    claim: Claim,
    *,
    verdict: str,
    in_doubt: bool = False,
    seconds: float = 0.0,
    request: RequestView | None = None,
    answer: AnswerView | None = None,
) -> bool:
    """Keep what came of this run. False: the claim is gone, and nothing was written.

    in_doubt: the service may have the job, and what became of it is not known. request: what was sent last, instead of
    what the job's earlier runs sent; but a question stands for no POST that is kept. Raises LedgerUnavailable.
    """
    values = {
        "job_id": jobs.c.id,
        "queue": jobs.c.queue,
        "epoch": literal(claim.epoch, Integer),
        "at": at(),
        "verdict": literal(storable_text(verdict)[:2000], Text),
        "in_doubt": literal(in_doubt, Boolean),
        "seconds": literal(seconds, Float),
        "request": literal(None if request is None else asdict(request), JSON),
        "answer": literal(None if answer is None else asdict(answer), JSON),
    }
    posted = request is not None and request.method == "POST"
    with begin() as connection:
        new = upsert(connection, deliveries).from_select(list(values), select(*values.values()).where(MINE))
        changed = {name: new.excluded[name] for name in values if name != "job_id" and (posted or name not in _SENT)}
        kept = new.on_conflict_do_update(index_elements=["job_id"], set_=changed).returning(deliveries.c.job_id)
        return connection.execute(kept, this(claim)).scalar() is not None


_FORGET = delete(deliveries).where(deliveries.c.job_id.in_(select(jobs.c.id).where(MINE)))


def forget(claim: Claim) -> None:
    """Keep nothing any more of a job that succeeds. Raises LedgerUnavailable."""
    with begin() as connection:
        connection.execute(_FORGET, this(claim))


_OF = attempts.c.job_id == jobs.c.id
_FAILED = attempts.c.outcome.in_((Outcome.FAILED.value, Outcome.TIMED_OUT.value))
# A run that came too late to begin has sent nothing.
_UNBEGUN = and_(attempts.c.outcome == Outcome.INTERRUPTED.value, attempts.c.error.startswith(LATE))
_TRIES = select(func.count()).where(_OF, _FAILED).scalar_subquery()
_LAST = select(func.max(case((_UNBEGUN, None), else_=attempts.c.epoch))).where(_OF).scalar_subquery()
_EARLIER = select(
    _TRIES.label("tries"),
    _LAST.label("last"),
    deliveries.c.epoch,
    deliveries.c.in_doubt,
    (jobs.c.expires_at <= at()).label("expired"),
).select_from(jobs.outerjoin(deliveries, deliveries.c.job_id == jobs.c.id))


def earlier(claim: Claim) -> Earlier:
    """What is known of the job's runs before this one. Raises LedgerUnavailable.

    In doubt is whatever the last of them left no word of: it may have died, or been stopped, after it had posted it.
    """
    if claim.epoch == 1:
        return Earlier()
    with reading() as connection:
        row = connection.execute(_EARLIER.where(jobs.c.id == claim.job_id)).one()
    told = row.epoch is not None and (row.last is None or row.epoch >= row.last)
    return Earlier(
        tries=row.tries,
        in_doubt=row.in_doubt if told else row.last is not None,
        kept=row.epoch is not None,
        expired=bool(row.expired),
    )


def expire(claim: Claim) -> None:
    """Say of a job that its time was over before its service had it. Raises LedgerUnavailable."""
    why = {"error_kind": "expired", "error_message": "It was not delivered before it expired."}
    with begin() as connection:
        connection.execute(update(jobs).where(MINE).values(why), this(claim))
        connection.execute(_FORGET, this(claim))


def find(connection: Connection, job_id: str) -> DeliveryView | None:
    """The last delivery of a job that did not succeed; None: there was none."""
    row = connection.execute(select(deliveries).where(deliveries.c.job_id == job_id)).one_or_none()
    if row is None:
        return None
    return DeliveryView(
        at=row.at,
        verdict=row.verdict,
        in_doubt=row.in_doubt,
        seconds=row.seconds,
        request=None if row.request is None else RequestView(**row.request),
        answer=None if row.answer is None else AnswerView(**row.answer),
    )
