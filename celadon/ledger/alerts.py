"""Alerts are rows first, in the transaction that gives cause for them, then sent by the scheduler."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from celadon.ids import new_id
from celadon.jobs import Claim, Failure
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.tables import alerts
from celadon.ledger.writing import upsert
from celadon.states import State

_OUTAGES = uuid.UUID("0b7f6a0e-6a53-5d0a-8f0c-1b1f5a2f7c55")  # Namespace of the ids of backlog alerts.


def raise_alert(
    connection: Connection, claim: Claim, failure: Failure, state: State, attempt: int, alert_after: int
) -> None:
    """Once when a job has failed `alert_after` times, once when it is dead. A departure happens once, so does this."""
    if state == State.DEAD:
        kind, what = "dead", f"is dead after {attempt} failed attempts"
    elif attempt == alert_after and state == State.SCHEDULED:
        kind, what = "failing", f"has failed {attempt} times and will be tried again"
    else:
        return
    write_alert(connection, claim.job_id, kind, claim.name, what, f"{failure.kind}: {failure.message}")


def write_alert(connection: Connection, job_id: str, kind: str, name: str, what: str, cause: str) -> None:
    body = (
        f"Job {job_id} ({name}) {what}.\n\n{cause}\n\nLook at it:  celadon job {job_id}\n"
        f"Try again:   celadon replay {job_id}\n"
    )
    _write(connection, new_id(), job_id, kind, f"{name} {what}", body)


def write_backlog_alert(count: int, oldest_s: float, reason: str) -> None:
    """At most once an hour, however many schedulers see the outage: the alert's id is made of the hour."""
    what = f"{count} jobs are queued, the oldest for {oldest_s:.0f} s, while the broker is away"
    body = f"{what}: {reason}.\n\nWorkers take them from the ledger meanwhile; more workers take more.\n"
    with begin() as connection:
        hour = f"{clock(connection):%Y-%m-%dT%H}"
        _write(connection, str(uuid.uuid5(_OUTAGES, hour)), "", "backlog", what, body)


def _write(connection: Connection, alert_id: str, job_id: str, kind: str, subject: str, body: str) -> None:
    connection.execute(
        upsert(connection, alerts)
        .values(id=alert_id, job_id=job_id, kind=kind, subject=subject, body=body, created_at=at(), try_after=at())
        .on_conflict_do_nothing()
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


def mark_sent(alert_id: str, note: str | None = None) -> None:
    with begin() as connection:
        connection.execute(update(alerts).where(alerts.c.id == alert_id).values(sent_at=at(), error=note))


def mark_failed(alert_id: str, error: str, again_in_s: float) -> None:
    with begin() as connection:
        connection.execute(update(alerts).where(alerts.c.id == alert_id).values(error=error, try_after=at(again_in_s)))
