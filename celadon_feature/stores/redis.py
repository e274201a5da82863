"""A store in Redis or Valkey (extra `redis`), for replicas on any number of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from celadon_feature.stores import KEEP_S, Run, Standing, StoreUnavailable

TIMEOUT_S = 5.0  # Of connecting, and of each answer.
_SCRIPT = Path(__file__).with_name("redis.lua").read_text()


class RedisStore:
    """Keeps runs in Redis, each under a key of its own. ALL REPLICAS MUST USE THE SAME REDIS.

    It is as safe as that Redis: what it forgets may be done again. Let it evict nothing (`maxmemory-policy
    noeviction`) and write an append-only file; a failover may still lose its last writes. Where that can't be borne,
    take `SqlStore` with PostgreSQL.

    client: a Redis client of yours (not an asynchronous one), or a URL. prefix: of the keys. keep_s: how many seconds
    an answer is known; longer than a job of yours may be retried or replayed.
    """

    def __init__(self, client: Redis | str, *, prefix: str = "celadon-feature:", keep_s: float = KEEP_S) -> None:
        if isinstance(client, str):
            client = Redis.from_url(
                client,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),  # Once, for a pooled connection that the server has closed meanwhile.
            )
        self._script: Any = client.register_script(_SCRIPT)
        self._prefix, self._keep_ms = prefix, int(keep_s * 1000)

    def begin(self, run: Run, expires_s: float) -> Standing | None:
        there = self._call("begin", run.job_id, run.token, run.attempts_made, int(expires_s * 1000))
        return None if there is None else _standing(there)

    def renew(self, run: Run, expires_s: float) -> bool:
        return bool(self._call("renew", run.job_id, run.token, run.attempts_made, int(expires_s * 1000)))

    def finish(self, run: Run, *, success: bool, answer: str) -> bool:
        state = "succeeded" if success else "failed"
        return bool(self._call("finish", run.job_id, run.token, run.attempts_made, 0, state, answer))

    def abandon(self, run: Run) -> None:
        self._call("abandon", run.job_id, run.token)

    def look(self, job_id: str) -> Standing:
        return _standing(self._call("look", job_id))

    def forget(self) -> None:
        """Nothing: each key has its time to live."""

    def _call(
        self,
        what: str,
        job_id: str,
        token: str = "",
        attempts_made: int = 0,
        expires_ms: int = 0,
        state: str = "",
        answer: str = "",
    ) -> Any:
        arguments = [what, token, attempts_made, expires_ms, self._keep_ms, state, answer]
        try:
            return self._script(keys=[self._prefix + job_id], args=arguments)
        except RedisError as error:
            raise StoreUnavailable(f"Redis: {error}") from error


def _standing(told: list[Any]) -> Standing:
    # A client of the application's own may or may not decode what it reads.
    state: Any
    state, attempts_made, answer = (part.decode() if isinstance(part, bytes) else part for part in told)
    return Standing(state=state, attempts_made=int(attempts_made), answer=answer)
