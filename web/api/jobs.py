"""Looking at jobs: a list of them, one of them, and one as it changes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from celadon import JobView, find, list_jobs, wait
from celadon.deadline import within
from celadon.errors import UnknownJobId
from celadon.ledger import apikeys
from celadon.ledger.apikeys import Scope
from celadon.settings import settings
from web.api import callers
from web.api.models import JobQuery, ListQuery
from web.streams import Over, holders, stream

MAX_WAIT_S = 30.0  # Below the time-outs of common proxies.


def every(query: ListQuery) -> Response:
    """List jobs

    Newest first. Jobs that are submitted meanwhile shift nothing: with the `next` of a page as `after` the next one
    goes on where it ended.
    """
    page = list_jobs(
        states=query.state,
        name=query.name,
        queue=query.queue,
        tenant=query.tenant,
        error=query.error,
        created_after=query.created_after,
        created_before=query.created_before,
        limit=query.limit,
        after=query.after,
    )
    answer = jsonify({"jobs": [job.as_dict() for job in page.jobs], "next": page.next})
    if page.next is not None:
        kept = [(name, value) for name, value in request.args.items(multi=True) if name != "after"]
        href = f"{request.script_root}{request.path}?{urlencode([*kept, ('after', page.next)])}"
        answer.headers["Link"] = f'<{href}>; rel="next"'
    return answer


def one(job_id: str, query: JobQuery) -> Response:
    """Show a job with its attempts and steps

    Of one that another service is to do, `delivery` is the last delivery that failed: what was sent and what came back,
    secrets masked, bodies cut.

    No more than half of the threads wait or stream, so that some are always free; a further client that wants to wait
    is answered at once.
    """
    if query.include:
        callers.demand(Scope.OPERATE)
    if query.wait and holders().acquire(blocking=False):
        try:
            job = wait(job_id, min(query.wait, MAX_WAIT_S))
        finally:
            holders().release()
    else:
        job = find(job_id)
    return jsonify(known(job_id, job).as_dict(payload=query.include is not None))


def events(job_id: str) -> Response:
    """Watch a job

    Server-sent events: `change` with the job as it is now, at first and whenever it has changed, and `end` with the
    job as it ended. A stream ends after two minutes at the latest; a browser's EventSource comes back by itself.
    """
    key = callers.secret(request.headers["Authorization"])

    def look() -> tuple[dict[str, Any], bool]:
        if apikeys.verify(key) is None:
            raise Over  # Revoked meanwhile.
        # A ledger that hangs ends the stream, for it holds a thread.
        found = within(settings().ledger_timeout_s, lambda _: find(job_id), job_id="")
        job = known(job_id, found)
        return job.as_dict(), job.finished

    return stream(look)


def known(job_id: str, job: JobView | None) -> JobView:
    """Raises UnknownJobId."""
    if job is None:
        raise UnknownJobId(f"There is no job {job_id}; finished jobs are kept for a while only", job_id=job_id)
    return job
