"""The one Redis client of a process: pick-up rendezvous, queue depths, health, an application's flags.

Celery's broker connections are its own. Every other use of Redis shares this client, so that the number of
connections does not grow with the number of features.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from celadon.settings import settings

# A web request may stand behind it, so it answers or fails quickly and never tries again by itself. A read may take
# longer than a connect, for the rendezvous blocks on purpose.
CONNECT_S = 0.1
READ_S = 0.15
CONNECTIONS = 20  # Most at once per process; more callers wait for a free one.

_lock = threading.Lock()
_client: redis.Redis | None = None


def get_redis() -> redis.Redis:
    """The process's client (`decode_responses=True`). It connects at the first command and raises redis.RedisError."""
    global _client
    if _client is None:
        with _lock:
            if _client is None:
                _client = _make(settings().redis)
    return _client


def reset() -> None:
    """Drop the client: after a fork, where the sockets are the parent's, or when the address has changed."""
    global _client, _lock
    _client = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=reset)


def _make(url: str) -> redis.Redis:
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": READ_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "client_name": "celadon",
    }
    if url.startswith("sentinel://"):
        return _by_sentinel(url, options)
    if url.startswith("rediss://"):
        options |= {"ssl_cert_reqs": "required", "ssl_ca_certs": settings().broker_ca_file}
    pool = redis.BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=READ_S, **options)
    return redis.Redis(connection_pool=pool)


def _by_sentinel(url: str, options: dict[str, Any]) -> redis.Redis:
    """`sentinel://host:port;sentinel://host:port/0`, as kombu writes it."""
    parts = [urlsplit(part) for part in url.split(";")]
    hosts = [(part.hostname or "127.0.0.1", part.port or 26379) for part in parts]
    sentinel = Sentinel(
        hosts,
        sentinel_kwargs={"socket_timeout": READ_S, "socket_connect_timeout": CONNECT_S, "retry": Retry(NoBackoff(), 0)},
    )
    db = int((parts[-1].path or "/0").lstrip("/") or 0)
    master: redis.Redis = sentinel.master_for(
        settings().broker_sentinel_master, db=db, password=parts[-1].password, **options
    )
    return master
