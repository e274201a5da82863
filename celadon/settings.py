"""Every setting of the platform, read from the environment once per process.

Only this file and the operator's `celeryconfig.py` read the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from celadon.errors import CeladonError


class Settings(BaseSettings):
    """Field names are the environment's names in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    ledger_url: str = Field("sqlite:///celadon.db", description="Database of the ledger, as an SQLAlchemy URL.")
    ledger_pool: int = Field(10, ge=1, description="Database connections per process, at most twice as many at a peak.")
    ledger_timeout_s: float = Field(
        0.8, gt=0, description="Longest wait for a connection to the ledger when submitting."
    )
    broker_url: str = Field("redis://127.0.0.1:6379/0", description="Broker: redis://, rediss:// or sentinel://.")
    redis_url: str = Field("", description="Redis for flags and pick-up rendezvous; empty: the broker's.")
    broker_sentinel_master: str = Field("mymaster", description="Name of the master that the Sentinels watch.")
    broker_ca_file: str | None = Field(None, description="CA bundle that signs the broker's certificate (rediss://).")
    celery_config_module: str = Field("celeryconfig", description="The operator's file, as a module name.")
    use_broker: bool = Field(
        True, description="Off: nothing is sent; jobs fall back, workers take theirs from the ledger."
    )

    confirm_ms: int = Field(250, ge=0, le=5000, description="How long a confirmed submission waits for a worker, ms.")
    max_payload_bytes: int = Field(256 * 1024, gt=0, description="Largest payload accepted, as JSON, bytes.")
    inline_concurrency: int = Field(4, ge=0, description="Fallback runs at once in one web process.")
    inline_budget_s: float = Field(10, gt=0, description="Time a fallback run may take, checked between steps, s.")
    key_days: int = Field(7, ge=1, description="How long an idempotency key is remembered, days.")

    lease_s: float = Field(10, gt=0, description="How long a claim stands unless renewed, s.")
    renew_s: float = Field(3, gt=0, description="How often claims are renewed, s; at most a third of the lease.")
    crash_limit: int = Field(3, ge=1, description="Crashes alone in a process after which a job is dead.")
    tick_s: float = Field(0.25, gt=0, le=1, description="Longest pause between two looks of the scheduler, s.")
    resend_after_s: float = Field(5, gt=0, description="When a sent job that nobody claimed is first sent again, s.")
    relief_poll_s: float = Field(
        0.5, gt=0, description="How often workers look into the ledger while the broker is away, s."
    )
    presence_s: float = Field(15, gt=0, description="A worker not heard of for so long is taken for gone, s.")
    stall_s: float = Field(
        15, gt=0, description="A worker that has not looked for messages for so long sends itself one, s."
    )
    canary_s: float = Field(15, gt=0, description="How long that message may take, before the worker begins anew, s.")

    delegation_file: str = Field(
        "",
        description="Registration file of the delegated queues; empty: the one that `celeryconfig.delegation` names.",
    )
    queue_concurrency_default: int = Field(
        5, ge=1, le=100_000, description="Deliveries at a time of a delegated queue that names no `concurrency`."
    )
    queue_timeout_default: int = Field(
        30_000, ge=1, description="Longest wait for the answer of a delegated queue that names no `timeout`, ms."
    )
    queue_retry_attempts: int = Field(
        3, ge=1, le=100, description="Tries of a job of a delegated queue that names no `attempts`."
    )
    queue_retry_backoff: Literal["exponential", "fixed"] = Field(
        "exponential", description="How the pauses between them grow where a delegated queue names no `backoff`."
    )
    port: int = Field(3019, ge=1, le=65535, description="Where the fleet serves `/health` and `/internal/status`.")
    fleet_host: str = Field(
        "127.0.0.1", description="The address on which it serves them; 0.0.0.0: all of them, as a container needs."
    )

    smtp_url: str = Field(
        "smtp://127.0.0.1:1025",
        description="Mail server: smtp:// or smtps://, with user:password@ if needed.",
    )
    mail_from: str = Field("Celadon <shop@example.org>", description="Sender of the platform's and the shop's mail.")
    admin_email: str = Field("admin@example.org", description="Who is told of failing and dead jobs; empty: nobody.")

    web_app: str = Field("web:create_app()", description="The WSGI application that `celadon web` serves.")
    web_bind: str = Field("127.0.0.1:8000", description="Where `celadon web` listens.")
    web_workers: int = Field(2, ge=1, description="Web processes.")
    web_threads: int = Field(8, ge=1, description="Threads per web process.")
    secret_key: str = Field("", description="Signs the shop's cookies; empty: a random one per start of `celadon web`.")

    api_rate: int = Field(600, ge=0, description="Requests a minute an API key may make; 0: as many as it likes.")
    api_max_bulk_bytes: int = Field(
        8 * 1024 * 1024, gt=0, description="Largest body of a bulk submission over HTTP, bytes."
    )

    metrics_bind: str = Field(
        "", description="Where this process serves Prometheus metrics, HOST:PORT; empty: nowhere."
    )
    heartbeat_file: str = Field(
        "", description="File that a living worker or scheduler touches every few seconds, for probes; empty: none."
    )
    sentry_dsn: str = Field("", description="Where errors and monitors are sent to; empty: nowhere.")
    sentry_environment: str = Field("production", description="The environment that Sentry shows.")
    sentry_traces_sample_rate: float = Field(0.0, ge=0, le=1, description="Share of requests and jobs that are traced.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["console", "json"] = Field("console", description="`console` for people, `json` for machines.")

    @model_validator(mode="after")
    def _lease_must_outlive_renewals(self) -> Settings:
        if self.renew_s > self.lease_s / 3 + 1e-9:
            raise ValueError(
                f"RENEW_S={self.renew_s:g} must be at most a third of LEASE_S={self.lease_s:g}, or a single late "
                "renewal loses a healthy job; lower RENEW_S or raise LEASE_S"
            )
        return self

    @property
    def redis(self) -> str:
        return self.redis_url or self.broker_url


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings. Raises CeladonError that names each bad variable."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])).upper() or 'settings'}: {e['msg']}" for e in error.errors()]
        raise CeladonError("The environment holds settings that can't be used. " + "; ".join(lines)) from error


def secret(name: str) -> str | None:
    """A variable that is named elsewhere, such as a signing key's by the registration file. None: it is not set."""
    return os.environ.get(name)


def override(**changes: object) -> None:
    """Set variables for this process and the ones it starts, for commands and tests. None removes one."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name.upper(), None)
        else:
            os.environ[name.upper()] = str(value)
    settings.cache_clear()


@contextmanager
def overridden(**changes: object) -> Iterator[None]:
    """Like `override`, for the length of a block."""
    before = {name: os.environ.get(name.upper()) for name in changes}
    override(**changes)
    try:
        yield
    finally:
        override(**before)
