"""Services that have jobs delivered to them, for the servers of test_feature_servers.py.

KEYS and STORE say the signing keys and the file of the store. A handler is at work until the file `data.until` is
there, then raises `data.error` or returns its data.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from flask import Flask

from celadon_feature import Delivery, Feature, Permanent, SqliteStore
from celadon_feature.asgi import App, app
from celadon_feature.flask import blueprint


def feature() -> Feature:
    return Feature(keys=os.environ["KEYS"], store=SqliteStore(os.environ["STORE"]))


def ended(delivery: Delivery) -> Any:
    if "error" in delivery.data:
        raise Permanent(delivery.data["error"])
    return delivery.data


def flask_app() -> Flask:
    made, served = feature(), Flask(__name__)

    @made.handler("email")
    def send(delivery: Delivery) -> Any:
        while (until := delivery.data.get("until")) and not Path(until).exists():
            time.sleep(0.01)
        return ended(delivery)

    served.register_blueprint(blueprint(made))
    return served


def asgi_app() -> App:
    made = feature()

    @made.handler("email")
    async def send(delivery: Delivery) -> Any:
        while (until := delivery.data.get("until")) and not Path(until).exists():
            await asyncio.sleep(0.01)
        return ended(delivery)

    return app(made)
