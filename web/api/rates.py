"""How many requests one may make: API_RATE in any minute, counted together by all processes.

Failure policy: the counts are in Redis, asked within its client's short time-outs. While it does not answer, each
process counts for itself, and asks again after PAUSE_S. A request is never refused, nor held up again and again,
because Redis is away.
"""

from __future__ import annotations

import math
import time
from functools import cache, lru_cache

import redis
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from celadon import logs
from celadon.redis import get_redis
from celadon.settings import settings

PAUSE_S = 5.0

log = logs.get("web.rates")


def take(who: str) -> int | None:
    """Count a request of `who`. None: it may be served; else it is over the rate, and may come again in so many s."""
    if not settings().api_rate:
        return None
    shared = _shared(get_redis())
    if time.monotonic() >= shared.ask_after:
        try:
            return _take(shared.limiter, who)
        except redis.RedisError as error:
            shared.ask_after = time.monotonic() + PAUSE_S
            log.warning("rates.counted_here", reason=str(error), seconds=PAUSE_S)
    return _take(_own(), who)


def _take(limiter: MovingWindowRateLimiter, who: str) -> int | None:
    rate = RateLimitItemPerMinute(settings().api_rate, namespace="celadon")
    if limiter.hit(rate, who):
        return None
    return max(1, math.ceil(limiter.get_window_stats(rate, who).reset_time - time.time()))


class _Shared:
    """Counts that all processes share, by way of one Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self.limiter = MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=client.connection_pool))
        self.ask_after = 0.0


@lru_cache(maxsize=1)
def _shared(client: redis.Redis) -> _Shared:
    """Of the process's client: after a fork or a change of address there is another one."""
    return _Shared(client)


@cache
def _own() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())
