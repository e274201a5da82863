"""A delivery in doubt: it is asked after, not repeated, until it is known what became of it.

Whatever was posted may have been done: the answer was lost, or took too long, or the worker that waited for it died.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from celadon.delegation.delivery import Delivery
from celadon.delegation.status_table import Becomes, Verdict

POSTS_MOST = 3  # In one run: a delivery that is cut every time has failed.
PAUSE_S, PAUSE_MOST_S = 0.25, 5.0  # Between two questions; doubled each time.
WORTH_POSTING = 0.5  # Of the time-out: with less time left, a repeat would only be in doubt again.

Check = Callable[[], None]


def settled(delivery: Delivery, *, check: Check) -> Verdict:
    """Deliver, and ask while it is in doubt. The verdict is a final one: succeeded, failed, dead or postponed.

    A delivery that an earlier run left in doubt is asked after first. check: called between two requests; what it
    raises (the worker stops, the job is cancelled) ends the run. Raises Postponed.
    """
    posts = 0
    verdict = Verdict(becomes=Becomes.ASKED, why="an earlier run may have delivered it") if delivery.in_doubt else None
    while True:
        if verdict is None:
            verdict = delivery.post()
            posts += 1
        if verdict.becomes != Becomes.ASKED:
            return verdict
        check()
        known = _asked(delivery, check)
        if known.becomes == Becomes.POSTED_AGAIN or (known.becomes == Becomes.NOT_ASKABLE and not posts):
            short = delivery.left_s < WORTH_POSTING * delivery.entry.timeout_s
            if short and not posts:
                return Verdict(becomes=Becomes.POSTPONED, why=f"{verdict.why}; the next run has the time to post it")
            if short or posts == POSTS_MOST:
                return _failed(f"{verdict.why}; it was posted {posts} times, and nobody knows of it")
            verdict = None
        elif known.becomes == Becomes.NOT_ASKABLE:
            return _failed(f"{verdict.why}; in doubt, for it can't be asked after: {known.why}")
        elif known.becomes == Becomes.ASKED_AGAIN:
            return _failed(f"{verdict.why}; still at work when the time was over")
        else:
            return known


def _asked(delivery: Delivery, check: Check) -> Verdict:
    """Ask, and again while it is at work, as long as the run has time."""
    pause_s = PAUSE_S
    while True:
        known = delivery.ask()
        if known.becomes != Becomes.ASKED_AGAIN or delivery.left_s < pause_s:
            return known
        _pause(pause_s, check)
        pause_s = min(pause_s * 2, PAUSE_MOST_S)


def _pause(seconds: float, check: Check) -> None:
    """Let time pass, but not for long after the run has to end."""
    until = time.monotonic() + seconds
    while (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, 1.0))
        check()


def _failed(why: str) -> Verdict:
    return Verdict(becomes=Becomes.FAILED, why=why)
