"""`/api/jobs`: what became of a job."""

from __future__ import annotations

import math

from flask import Response, abort, jsonify, request

from celadon import find, wait
from services.orders.errors import Problem
from web.problems import invalid
from web.streams import holders

MAX_WAIT_S = 30.0  # Below the time-outs of common proxies.
MAX_ID = 64  # Characters; the column's width.


def one(job_id: str) -> Response:
    """GET /api/jobs/{id}: the job with its attempts and steps.

    `?wait=SECONDS` answers when the job has finished, or as it is after that time, at most 30 s. No more
    than half of the threads wait, so that some are always free; a further client is answered at once.
    """
    try:
        seconds = float(request.args.get("wait", "0"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        return invalid([Problem(field="wait", message="Seconds to wait, a number from 0 on.")])
    if len(job_id) > MAX_ID or not job_id.isprintable():
        abort(404, "There is no such job.")
    if seconds and holders().acquire(blocking=False):
        try:
            job = wait(job_id, min(seconds, MAX_WAIT_S))
        finally:
            holders().release()
    else:
        job = find(job_id)
    if job is None:
        abort(404, f"There is no job {job_id}; finished jobs are kept for a while only.")
    return jsonify(job.as_dict())
