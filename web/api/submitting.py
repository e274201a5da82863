"""Submitting jobs: one, many at once, or one that another service runs."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, jsonify, url_for
from pydantic import ValidationError

from celadon import Receipt, Submission, delegate, submit, submit_many
from celadon.bulk import MAX_JOBS
from celadon.errors import CeladonError, InvalidOption, UnknownQueue
from services.orders.errors import InvalidOrder, Problem
from web.api import models
from web.api.asked import idempotency_key, misfits
from web.api.models import MAX_NAME, Delegate, SubmitJob, SubmitJobs
from web.problems import invalid, not_found, of_error

MAX_PREFIX = MAX_NAME - len(f":{MAX_JOBS - 1}")  # Of a bulk's Idempotency-Key: its jobs' keys are longer.


def one(body: SubmitJob) -> Response:
    """Submit a job

    The receipt says what became of it: `queued`, `picked_up` by a worker, run `inline`, `deferred` to when the broker
    is back, `scheduled`, `waiting` behind a pause, or `duplicate`: the key was used before, and this is its job.
    Whichever it is, the job is in the ledger and is not lost.
    """
    receipt = submit(
        body.name,
        body.payload,
        key=_key(body),
        run_at=body.run_at,
        delay=body.delay_s,
        expires_in=body.expires_in_s,
        queue=body.queue,
        priority=body.priority,
        tenant=body.tenant,
        confirm=body.confirm,
    )
    return _accepted(receipt)


def delegated(queue: str, body: Delegate) -> Response:
    """Submit a job to a delegated queue

    It is delivered over HTTP to the service that owns the queue, as often as the registration file says. The receipt is
    that of any job. An idempotency key is unique within the queue.
    """
    try:
        receipt = delegate(
            queue,
            body.data,
            key=_key(body),
            run_at=body.run_at,
            delay=body.delay_s,
            expires_in=body.expires_in_s,
            priority=body.priority,
            tenant=body.tenant,
            callback=body.callback,
        )
    except UnknownQueue as error:
        abort(not_found(error))
    return _accepted(receipt)


def _key(body: models.Submission) -> str | None:
    """The idempotency key, from the body or the header."""
    key = idempotency_key()
    if key is not None and body.key not in (None, key):
        abort(invalid([Problem(field="key", message="The header Idempotency-Key says another; give one of them.")]))
    return body.key or key


def _accepted(receipt: Receipt) -> Response:
    told = _told(receipt)
    answer = jsonify(told)
    answer.status_code, answer.location = 202, told["href"]
    return answer


def many(body: SubmitJobs) -> Response:
    """Submit up to 1,000 jobs at once

    Each is judged by itself and has its result in its place: its receipt, or why it was refused. What can be accepted
    is accepted, all in one transaction, whatever the others are. A bulk waits for no worker and runs nothing inline.
    With the header `Idempotency-Key: K`, job number n without a key of its own gets the key `K:n`.
    """
    prefix = idempotency_key(MAX_PREFIX)
    results: list[dict[str, Any]] = []
    wanted: dict[int, Submission] = {}
    for index, given in enumerate(body.jobs):
        try:
            wanted[index] = _submission(given, f"{prefix}:{index}" if prefix else None)
            results.append({})
        except (CeladonError, InvalidOrder) as error:
            results.append(_refused(index, error))
    for index, result in zip(wanted, submit_many(list(wanted.values())), strict=True):
        if isinstance(result, Receipt):
            results[index] = {"index": index, "status": 202, "receipt": _told(result)}
        else:
            results[index] = _refused(index, result)
    accepted = sum(result["status"] == 202 for result in results)
    return jsonify({"results": results, "accepted": accepted, "refused": len(results) - accepted})


def _submission(given: Any, key: str | None) -> Submission:
    """Raises InvalidOrder, InvalidOption."""
    try:
        job = SubmitJob.model_validate(given)
    except ValidationError as error:
        raise InvalidOrder(misfits(error)) from error
    if job.confirm:
        raise InvalidOption("confirm: a bulk waits for no worker; submit this job by itself", option="confirm")
    return Submission(
        name=job.name,
        payload=job.payload,
        key=job.key or key,
        run_at=job.run_at,
        delay=job.delay_s,
        expires_in=job.expires_in_s,
        queue=job.queue,
        priority=job.priority,
        tenant=job.tenant,
    )


def _told(receipt: Receipt) -> dict[str, Any]:
    return {**receipt.as_dict(), "href": url_for("api.job", job_id=receipt.job_id)}


def _refused(index: int, error: Exception) -> dict[str, Any]:
    told = of_error(error)
    return {"index": index, "status": told["status"], "error": told}
