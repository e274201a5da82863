"""Structured logs: a constant event name plus fields, readable on a terminal, JSON in containers."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog

from celadon.settings import settings

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
_UNCONFIGURED: list[Any] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(key_order=["event"]),
]


class _Logger:
    """One of ours: as structlog is configured, by us or by the application.

    Where it is not (an application that only submits) we are heard through the standard library's logger of the name,
    as quietly or loudly as the application has set it, and its own use of structlog stays as it is.
    """

    def __init__(self, name: str) -> None:
        self._configured = structlog.get_logger(name)
        self._plain = structlog.wrap_logger(
            logging.getLogger(name), processors=_UNCONFIGURED, wrapper_class=structlog.stdlib.BoundLogger
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._configured if structlog.is_configured() else self._plain, name)


def configure() -> None:
    """Send the logs of this process, ours and those of the libraries, to standard error."""
    from celery import signals

    tail: list[Any]
    if settings().log_format == "json":
        tail = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # The prettier traceback, used by default where Rich is installed, shows local variables: payloads.
        plain = structlog.dev.plain_traceback
        tail = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings().log_level)
    logging.captureWarnings(True)
    signals.setup_logging.connect(_instead_of_celery, weak=False)
    # Celery logs each task twice per run; our own `job.*` events say it once, with the job's fields.
    for noisy in ("celery.worker.strategy", "celery.app.trace", "kombu", "alembic", "aiosmtpd"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(settings().log_level)))
    # Of the job whose child was killed `job.recovered` tells.
    logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL)


def _instead_of_celery(**_: Any) -> None:
    """Celery sets up no handlers of its own, and what its pool of processes says goes our way."""
    from billiard.util import get_logger

    pool = get_logger()
    pool.propagate = True
    pool.setLevel(logging.ERROR)


def get(name: str) -> structlog.stdlib.BoundLogger:
    return cast(structlog.stdlib.BoundLogger, _Logger(name))
