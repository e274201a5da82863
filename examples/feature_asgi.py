"""A service that has jobs delivered to it, with ASGI: coroutines are awaited, functions run in threads.

Run it: `.venv/bin/python -m examples.feature_asgi` delivers jobs to it, as the platform does. A real server runs it
too, such as uvicorn or hypercorn.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from celadon_feature import Delivery, Feature, SqliteStore, new_key
from celadon_feature.asgi import App, app
from celadon_feature.testing import delivery


def create_app(keys: str, store: Path) -> App:
    """The service. keys: what the queues' registration signs with. store: a file that all its processes share."""
    feature = Feature(keys=keys, store=SqliteStore(store))
    places: list[asyncio.Semaphore] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        places.append(asyncio.Semaphore(3))  # What lives on the server's event loop is made here: clients, pools.
        yield

    @feature.handler("image-gen")
    async def draw(delivery: Delivery) -> str:
        await asyncio.sleep(0)  # Where a model elsewhere would be awaited.
        return f"a picture of {delivery.data['of']}"

    @feature.handler("analytics")
    def count(delivery: Delivery) -> int:
        return sum(delivery.data["numbers"])  # Where the database would be asked, with a driver that blocks.

    return app(feature, lifespan=lifespan)


async def deliver(service: App, keys: str) -> None:
    transport = httpx.ASGITransport(app=service)
    async with httpx.AsyncClient(transport=transport, base_url="http://feature") as client:
        for queue, data in [("image-gen", {"of": "a heron"}), ("analytics", {"numbers": [1, 2, 39]})]:
            headers, body = delivery(queue, data, keys=keys)
            answer = await client.post("/internal/process-job", headers=headers, content=body)
            print(f"{queue}: {answer.status_code} {answer.text}")


def main() -> None:
    keys = new_key()  # A service reads it from where its secrets are.
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(deliver(create_app(keys, Path(folder) / "deliveries.db"), keys))


if __name__ == "__main__":
    main()
