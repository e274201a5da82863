"""Pointing this process at a ledger or a broker of the test's own, and back again afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import celadon.redis
from celadon import broker, deadline, inline, keeper, outlook
from celadon.app import app, forget_connections
from celadon.ledger import db
from celadon.settings import override


@contextmanager
def pointed(**changes: object) -> Iterator[None]:
    """Set settings for this process while the block runs; every connection made under others is dropped.

    changes: settings by name, as `celadon.settings.override` takes them. A `broker_url` is told to Celery too.
    """
    before = {name: os.environ.get(name.upper()) for name in changes}
    broker_before = app.conf.broker_url
    override(**changes)
    _drop_connections()
    if "broker_url" in changes:
        app.conf.broker_url = changes["broker_url"]
    try:
        yield
    finally:
        _drop_connections()
        override(**before)
        app.conf.broker_url = broker_before


def _drop_connections() -> None:
    db.reset()
    celadon.redis.reset()
    forget_connections()
    outlook.forget()
    inline.reset()
    deadline.reset()
    keeper.use(None)
    broker.circuit = broker.Circuit()
