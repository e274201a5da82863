"""The pick-up rendezvous: a worker that claimed a job says so on a Redis list its submitter waits at.

Only a quick way to hear of it. The ledger's row is the truth, so every failure here means no more than "look there".
"""

from __future__ import annotations

import json
import time

import redis

from celadon.redis import READ_S, get_redis

KEEP_S = 30  # How long an announcement nobody waits for stays.


def announce(job_id: str, worker: str) -> None:
    """Tell the submitter that `worker` has claimed the job."""
    try:
        with get_redis().pipeline(transaction=False) as pipe:
            pipe.lpush(f"pickup:{job_id}", json.dumps(worker))
            pipe.expire(f"pickup:{job_id}", KEEP_S)
            pipe.execute()
    except redis.RedisError:
        return


def heard(job_id: str, budget_s: float) -> str | None:
    """Wait up to `budget_s` for the announcement; who claimed it, or None."""
    deadline = time.monotonic() + budget_s
    client = get_redis()
    while (left := deadline - time.monotonic()) > 0.001:
        try:
            # One wait must end well within the socket's time-out, so a long one is made of several.
            answer = client.blpop([f"pickup:{job_id}"], timeout=min(left, READ_S / 2))
        except redis.RedisError:
            time.sleep(min(left, READ_S / 2))  # The row will tell; the worker still gets its time.
            continue
        if answer:
            worker: str = json.loads(answer[1])
            return worker
    return None
