"""The Celery application, configured by the operator's file."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import kombu.pools
from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from celadon import defaults
from celadon.delegation import file
from celadon.queues import operators_file
from celadon.settings import settings

# The operator's file and the modules it names stand in the folder the process is started from.
if "" not in sys.path:  # The `celery` command has put the folder there only while it imports this module.
    sys.path.insert(0, os.getcwd())


class Loader(AppLoader):  # type: ignore[misc]
    """Reads the operator's file, over the platform's defaults."""

    def config_from_object(self, obj: object, silent: bool = False) -> bool:
        # By the platform's own reader, whatever `obj` is: a file that is missing is told in the same words everywhere.
        told = {name: value for name, value in vars(operators_file()).items() if not name.startswith("_")}
        return bool(super().config_from_object(defaults.celery(told), silent))


app = Celery("celadon", loader=Loader)
app.config_from_object(settings().celery_config_module)


def ask_sentinels_once(options: dict[str, Any]) -> dict[str, Any]:
    """Transport options under which Sentinels that are away cost no more than a time-out, instead of retries."""
    if not settings().broker_url.startswith("sentinel"):
        return options
    limits = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout") if name in options}
    return {**options, "sentinel_kwargs": {**limits, "retry": Retry(NoBackoff(), 0)}}


if settings().broker_url.startswith("sentinel"):
    app.conf.broker_transport_options = ask_sentinels_once(dict(app.conf.broker_transport_options))


def load() -> None:
    """Import every module that declares jobs, so that this process knows them all."""
    app.loader.import_default_modules()
    if file.configured() is not None:
        for of_delegation in ("deliver", "callbacks"):
            import_module(f"celadon.delegation.{of_delegation}")


def know(queue: str) -> str:
    """Tell Celery of a queue of the registration file, which is in no `task_queues`; returns the queue's name."""
    if queue not in app.amqp.queues and queue in file.table().queues:
        app.amqp.queues.add(Queue(queue))
    return queue


def patient(lane: Any = None) -> None:
    """Take the patient connection settings of workers instead of the producers' tight ones.

    lane: gives the broker's book of unacknowledged messages a name of its own, so that the lanes' visibility
    timeouts do not mix.
    """
    options = defaults.patient_transport_options(vars(operators_file()))
    if lane is not None:
        options |= {
            "visibility_timeout": lane.visibility_s,
            "unacked_key": f"unacked:{lane.name}",
            "unacked_index_key": f"unacked_index:{lane.name}",
            "unacked_mutex_key": f"unacked_mutex:{lane.name}",
            "client_name": f"celadon-{lane.name}",
        }
    app.conf.update(
        broker_transport_options=ask_sentinels_once(options),
        broker_connection_timeout=5,
        broker_pool_acquire_timeout=10,
    )


def forget_connections() -> None:
    """Drop connections inherited over a fork: two processes on one socket would read each other's answers."""
    app._pool = None
    if "amqp" in app.__dict__:
        app.amqp._producer_pool = None
    kombu.pools.connections.clear()
    kombu.pools.producers.clear()


# os.fork() does not run the hooks by which kombu does this for multiprocessing (gunicorn forks so).
os.register_at_fork(after_in_child=forget_connections)
