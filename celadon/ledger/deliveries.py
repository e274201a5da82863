"""What a delivery that did not succeed sent, and what it got: the last one of each job, for whoever looks for why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from sqlalchemy import Connection, Float, Integer, Text, func, literal, select

from celadon.jobs import AnswerView, Claim, DeliveryView, RequestView, storable_text
from celadon.ledger.db import at, begin, reading
from celadon.ledger.fencing import MINE, this
from celadon.ledger.tables import JSON, attempts, deliveries, jobs
from celadon.ledger.writing import upsert
from celadon.secret_names import is_secret
from celadon.states import Outcome

BODY_MOST = 4096  # Characters of a body that are kept.
HEADERS_MOST = 50
HEADER_MOST = 500
MASKED = "•••"


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


def keep(claim: Claim, *, verdict: str, seconds: float, request: RequestView, answer: AnswerView | None) -> bool:
    """Keep it instead of the job's last one. False: the claim is gone, and nothing was written.

    Raises LedgerUnavailable.
    """
    values = {
        "job_id": jobs.c.id,
        "queue": jobs.c.queue,
        "epoch": literal(claim.epoch, Integer),
        "at": at(),
        "verdict": literal(storable_text(verdict)[:2000], Text),
        "seconds": literal(seconds, Float),
        "request": literal(asdict(request), JSON),
        "answer": literal(None if answer is None else asdict(answer), JSON),
    }
    with begin() as connection:
        new = upsert(connection, deliveries).from_select(list(values), select(*values.values()).where(MINE))
        changed = {name: new.excluded[name] for name in values if name != "job_id"}
        kept = new.on_conflict_do_update(index_elements=["job_id"], set_=changed).returning(deliveries.c.job_id)
        return connection.execute(kept, this(claim)).scalar() is not None


def tries(job_id: str) -> int:
    """How many tries of a job have failed, those before a replay too: no number is ever delivered as another try.

    Raises LedgerUnavailable.
    """
    failed = attempts.c.outcome.in_((Outcome.FAILED.value, Outcome.TIMED_OUT.value))
    with reading() as connection:
        counted = select(func.count()).select_from(attempts).where(attempts.c.job_id == job_id, failed)
        return int(connection.execute(counted).scalar_one())


def find(connection: Connection, job_id: str) -> DeliveryView | None:
    """The last delivery of a job that did not succeed; None: there was none."""
    row = connection.execute(select(deliveries).where(deliveries.c.job_id == job_id)).one_or_none()
    if row is None:
        return None
    return DeliveryView(
        at=row.at,
        verdict=row.verdict,
        seconds=row.seconds,
        request=RequestView(**row.request),
        answer=None if row.answer is None else AnswerView(**row.answer),
    )
