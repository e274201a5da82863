"""One request with its retries, within a budget of time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from celadon.client import errors
from celadon.client.flow import Answer, Failure, Flow, Open, Pause, Request, Send
from celadon.errors import InvalidOption

AGAIN = frozenset({429, 502, 503, 504})  # Answers that another try may better. All others are final.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 5.0  # Doubled from try to try, with up to a half taken off at random.
SHORTEST_TRY_S = 0.5  # The last try of a budget gets at least so long.


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How long a call may take."""

    timeout_s: float = 10.0
    give_up_after_s: float = 30.0
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        for name in ("timeout_s", "give_up_after_s"):
            if not getattr(self, name) > 0:
                raise InvalidOption(f"{name}={getattr(self, name)}: must be longer than nothing")


def exchange(request: Request, policy: Policy, step: type[Send] | type[Open] = Send) -> Flow[Answer]:
    """Send until there is a final answer; the answer, if it is a good one. Raises ApiError.

    Most requests may be repeated: they read, or carry an idempotency key, or ask for a state that a second time does
    not change. One that may be done `once` is not repeated when a try may have done it. An error that comes after a
    try whose answer was lost says so (`in_doubt`).
    """
    began = policy.now()
    until = began + policy.give_up_after_s + (request.wait_s or 0.0)
    tries, in_doubt = 0, False
    while True:
        now = policy.now()
        wait_s = None if request.wait_s is None else round(max(began + request.wait_s - now, 0.0), 3)
        timeout_s = min(policy.timeout_s, max(until - now - (wait_s or 0.0), SHORTEST_TRY_S))
        outcome: Answer | Failure = yield step(replace(request, wait_s=wait_s, timeout_s=timeout_s))
        error = errors.of(outcome)
        if error is None:
            assert isinstance(outcome, Answer)
            return outcome
        tries += 1
        error.in_doubt = in_doubt = in_doubt or error.in_doubt
        final = (error.status is not None and error.status not in AGAIN) or isinstance(error, errors.Refused)
        if final or (request.once and in_doubt):
            raise error
        pause_s = _pause_s(tries, outcome)
        if policy.now() + pause_s > until:
            raise error
        yield Pause(pause_s)


def _pause_s(tries: int, outcome: Answer | Failure) -> float:
    """How long to wait before the next try: at least what the server asks for, and not all clients at one moment."""
    backoff: float = min(FIRST_PAUSE_S * 2 ** (tries - 1), LAST_PAUSE_S) * random.uniform(0.5, 1)
    asked = retry_after_s(outcome.headers.get("retry-after", "")) if isinstance(outcome, Answer) else None
    return backoff if asked is None else asked + backoff / 2


def retry_after_s(value: str) -> float | None:
    """The seconds that a `Retry-After` asks for, given as a number or as a date; None: it asks for nothing."""
    try:
        return max(0.0, float(int(value)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None
