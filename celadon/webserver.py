"""gunicorn's configuration, `--config python:celadon.webserver`: its logs are ours, and its processes are watched.

The master makes the folder in which its processes count, and serves it for all of them.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from gunicorn.glogging import Logger

from celadon import drain, logs, sentry
from celadon.metrics import serving


class Logs(Logger):  # type: ignore[misc]
    """What gunicorn itself says goes the way of all lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        logs.configure()
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """What it says of a request that is none, it says with the client's address, headers or query: that is not."""
        if msg.startswith("Invalid request from "):
            cause = sys.exc_info()[0]
            msg, args = "Invalid request: %s", (cause.__name__ if cause else "unknown",)
        super().warning(msg, *args, **kwargs)


logger_class = Logs
accesslog = None  # The application tells of each request: with its route, which gunicorn does not know.


def on_starting(server: Any) -> None:
    serving.start("web")


def post_fork(server: Any, worker: Any) -> None:
    drain.apart()
    sentry.start("web")


def post_worker_init(worker: Any) -> None:
    """On SIGTERM streams, waits and inline runs end soon; else they would hold the process for its whole grace."""

    def stop(number: int, frame: FrameType | None) -> None:
        drain.begin()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.siginterrupt(signal.SIGTERM, False)  # As gunicorn sets it: requests under way are not disturbed.
