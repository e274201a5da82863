"""gunicorn's configuration, `--config python:celadon.webserver`: its logs are ours, and its processes are watched.

The master makes the folder in which its processes count, and serves it for all of them.
"""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger

from celadon import logs, sentry
from celadon.metrics import serving


class Logs(Logger):  # type: ignore[misc]
    """What gunicorn itself says goes the way of all lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        logs.configure()
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True


logger_class = Logs
accesslog = None  # The application tells of each request: with its route, which gunicorn does not know.


def on_starting(server: Any) -> None:
    serving.start("web")


def post_fork(server: Any, worker: Any) -> None:
    sentry.start("web")
