"""Alerts are rows first, in the transaction that gives cause for them, then sent by the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from celadon.ids import new_id
from celadon.jobs import Claim, Failure
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import alerts
from celadon.states import State


def raise_alert(
    connection: Connection, claim: Claim, failure: Failure, state: State, attempt: int, alert_after: int
) -> None:
    """Once when a job has failed `alert_after` times, once when it is dead. A departure happens once, so does this."""
    if state == State.DEAD:
        kind, what = "dead", f"is dead after {attempt} failed attempts"
    elif attempt == alert_after:
        kind, what = "failing", f"has failed {attempt} times and will be tried again"
    else:
        return
    write_alert(connection, claim.job_id, kind, claim.name, what, f"{failure.kind}: {failure.message}")


def write_alert(connection: Connection, job_id: str, kind: str, name: str, what: str, cause: str) -> None:
    connection.execute(
        insert(alerts).values(
            id=new_id(),
            job_id=job_id,
            kind=kind,
            subject=f"{name} {what}",
            body=f"Job {job_id} ({name}) {what}.\n\n{cause}\n\nLook at it:  celadon job {job_id}\n"
            f"Try again:   celadon replay {job_id}\n",
            created_at=at(),
            try_after=at(),
        )
    )


def unsent(limit: int = 20) -> Sequence[Any]:
    with reading() as connection:
        return connection.execute(
            select(alerts)
            .where(alerts.c.sent_at.is_(None), alerts.c.try_after <= at())
            .order_by(alerts.c.try_after)
            .limit(limit)
        ).all()


def take(alert_id: str, for_s: float) -> bool:
    """Reserve an unsent alert for a while, so that two schedulers do not send it at once."""
    with begin() as connection:
        return bool(
            connection.execute(
                update(alerts)
                .where(alerts.c.id == alert_id, alerts.c.sent_at.is_(None), alerts.c.try_after <= at())
                .values(try_after=at(for_s), tries=alerts.c.tries + 1)
            ).rowcount
        )


def mark_sent(alert_id: str) -> None:
    with begin() as connection:
        connection.execute(update(alerts).where(alerts.c.id == alert_id).values(sent_at=at(), error=None))


def mark_failed(alert_id: str, error: str, again_in_s: float) -> None:
    with begin() as connection:
        connection.execute(update(alerts).where(alerts.c.id == alert_id).values(error=error, try_after=at(again_in_s)))
