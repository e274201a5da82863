"""Plain Celery messages of other applications: made ledger jobs before they are acknowledged, if the job opts in.

Message protocol 2 (Celery 4 and newer). Such a job keeps the message's task id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from celery.exceptions import Reject
from celery.worker.strategy import default
from sqlalchemy import update

from celadon import logs
from celadon.broker import HEADER
from celadon.errors import CeladonError, InvalidOption, LedgerUnavailable
from celadon.ids import new_id
from celadon.jobs import NewJob
from celadon.ledger.alerts import write_alert
from celadon.ledger.db import at, begin
from celadon.ledger.tables import audit, jobs
from celadon.ledger.writing import insert_job
from celadon.queues import names as operators_queues
from celadon.registry import Definition
from celadon.run import insist
from celadon.states import State

log = logs.get("celadon.adopt")

CANVAS = ("callbacks", "errbacks", "chain", "chord", "group")
_ETA, _EXPIRES = "celadon_eta", "celadon_expires"


def strategy(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's own way of receiving a message, except that a foreign one is never held in memory until its `eta`."""
    receive: Callable[..., Any] = default(task, app, consumer, **options)

    def handler(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **kw: Any) -> Any:
        headers = message.headers
        if headers and not headers.get(HEADER):
            headers[_ETA], headers["eta"] = headers.get("eta"), None
            headers[_EXPIRES], headers["expires"] = headers.get("expires"), None
        return receive(message, body, ack, reject, callbacks, **kw)

    return handler


def adopt(definition: Definition, request: Any, args: Any, kwargs: Any) -> None:
    """Insert a row for the message and run it, now or at its `eta`. Runs before the message is acknowledged."""
    from celadon.app import app
    from celadon.worker.work import work

    if not definition.adopt:
        log.error("message.refused", task=definition.name, id=request.id, cure="declare adopt=True to accept it")
        with begin() as connection:
            connection.execute(
                audit.insert().values(
                    id=new_id(),
                    at=at(),
                    actor="worker",
                    action="message_refused",
                    subject=request.id,
                    detail={
                        "task": definition.name,
                        "reason": "it is not from Celadon, and the job does not adopt",
                    },
                )
            )
        return
    queue = (request.delivery_info or {}).get("routing_key")
    if queue not in operators_queues():
        queue = definition.queue_of(delayed=False)
    payload: dict[str, Any] = {}
    problem: str | None = None
    try:
        canvas = [name for name in CANVAS if request.get(name)]
        if canvas:
            raise InvalidOption(f"the message uses {', '.join(canvas)}, which a ledger job can't keep")
        payload = definition.validate(app.tasks[definition.name].payload(args, kwargs))
    except CeladonError as error:
        problem = f"{type(error).__name__}: {error}"
    run_at, expires = _time(request.get(_ETA)), _time(request.get(_EXPIRES))
    text = json.dumps([list(args), kwargs], sort_keys=True, default=str)
    new = NewJob(
        id=request.id,
        name=definition.name,
        queue=queue,
        payload=payload,
        size=len(text),
        max_attempts=definition.attempts,
        run_at=run_at,
        state=State.SCHEDULED if run_at and run_at > datetime.now(UTC) else State.QUEUED,
        expires_in_s=(expires - datetime.now(UTC)).total_seconds() if expires else None,
        scope=definition.scope_of(payload) if problem is None else None,
        # The key outlives the job's row: a message that comes again weeks later is still known.
        key=f"celery:{request.id}",
        payload_hash=hashlib.sha256(text.encode()).hexdigest(),
    )
    # The message is the only copy until the row stands, so a ledger that is away is waited for.
    try:
        state, fresh = insist(lambda: _store(new, problem))
    except LedgerUnavailable as error:
        raise Reject(f"the ledger is away: {error}", requeue=True) from error
    log.info("message.adopted", job_id=new.id, job=new.name, fresh=fresh, problem=problem)
    if problem is None and state == State.QUEUED:
        work(new.id)


def _store(new: NewJob, problem: str | None) -> tuple[State, bool]:
    with begin() as connection:
        _, state, fresh = insert_job(connection, new)
        if fresh and problem is not None:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == new.id)
                .values(
                    state=State.DEAD,
                    send_due=None,
                    finished_at=at(),
                    error_kind="NotAdopted",
                    error_message=problem,
                    error_fingerprint="not-adopted",
                )
            )
            write_alert(connection, new.id, "dead", new.name, "came as a message that can't be adopted", problem)
    return state, fresh


def _time(value: Any) -> datetime | None:
    if not value:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
