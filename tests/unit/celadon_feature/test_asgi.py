"""The ASGI application, driven as a server drives it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from celadon_feature import Delivery, Feature, SqliteStore, new_key
from celadon_feature.asgi import App, app
from celadon_feature.feature import PATH
from celadon_feature.testing import delivery
from tests.eventually import eventually

KEY = new_key()


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "deliveries.db")


@pytest.fixture
def feature(store: SqliteStore) -> Feature:
    return Feature(keys=KEY, store=store, max_body_bytes=1000)


async def post(served: Any, queue: str = "email", data: Any = None, job_id: str | None = None) -> httpx.Response:
    headers, body = delivery(queue, data, keys=KEY, job_id=job_id)
    transport = httpx.ASGITransport(app=served)
    async with httpx.AsyncClient(transport=transport, base_url="http://feature") as client:
        return await client.post(PATH, headers=headers, content=body)


def scope(kind: str = "http", path: str = PATH) -> dict[str, Any]:
    return {"type": kind, "method": "POST", "path": path, "headers": []}


class Wire:
    """What a server hands in, and what the application says."""

    def __init__(self, *incoming: dict[str, Any]) -> None:
        self.incoming, self.said = list(incoming), list[Any]()

    async def receive(self) -> dict[str, Any]:
        return self.incoming.pop(0)

    async def send(self, message: Any) -> None:
        self.said.append(message)


def test_a_coroutine_is_awaited_on_the_loop_and_a_function_runs_in_a_thread(feature: Feature) -> None:
    where: dict[str, int] = {}

    @feature.handler("email")
    async def send(delivery: Delivery) -> str:
        where["coroutine"] = threading.get_ident()
        return "sent"

    @feature.handler("analytics")
    def count(delivery: Delivery) -> str:
        where["function"] = threading.get_ident()
        return "counted"

    async def both() -> list[Any]:
        served = app(feature)
        return [(await post(served, queue)).json()["result"] for queue in ("email", "analytics")]

    assert asyncio.run(both()) == ["sent", "counted"]
    assert where["coroutine"] == threading.get_ident() != where["function"]


def test_an_object_whose_call_is_a_coroutine_is_awaited_too(feature: Feature) -> None:
    class Sender:
        async def __call__(self, delivery: Delivery) -> int:
            return threading.get_ident()

    feature.handler("email")(Sender())

    assert asyncio.run(post(app(feature))).json()["result"] == threading.get_ident()


def test_functions_run_beside_each_other(feature: Feature) -> None:
    together = threading.Barrier(5, timeout=10)
    feature.handler("email")(lambda delivery: together.wait() >= 0)

    async def five() -> list[bool]:
        served = app(feature, threads=5)
        return [answer.json()["result"] for answer in await asyncio.gather(*(post(served) for _ in range(5)))]

    assert asyncio.run(five()) == [True] * 5


def test_a_job_that_waits_for_a_thread_until_another_replica_has_done_it_is_not_done_again(store: SqliteStore) -> None:
    begun, go_on, ran = threading.Event(), threading.Event(), list[str]()

    def replica() -> App:
        made = Feature(keys=KEY, store=store, expires_s=0.1)

        @made.handler("email")
        def send(delivery: Delivery) -> str:
            ran.append(delivery.job_id)
            if delivery.data == "slow":
                begun.set()
                assert go_on.wait(10)
            return "sent"

        return app(made, threads=1)

    async def stands(job_id: str, state: str) -> None:
        await asyncio.to_thread(eventually, f"it is {state}", lambda: store.look(job_id).state == state)

    async def both() -> list[httpx.Response]:
        first, second = replica(), replica()
        slow = asyncio.create_task(post(first, data="slow", job_id="slow"))
        await asyncio.to_thread(begun.wait, 10)
        waiting = asyncio.create_task(post(first, job_id="waiting"))
        await stands("waiting", "interrupted")
        other = await post(second, job_id="waiting")
        go_on.set()
        return [other, await waiting, await slow]

    answers = asyncio.run(both())

    assert ran == ["slow", "waiting"]
    assert [answer.json() for answer in answers] == [{"success": True, "result": "sent"}] * 3
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true", None]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_a_handler_raises_is_a_failed_try(feature: Feature, asynchronous: bool) -> None:
    def refuse(delivery: Delivery) -> None:
        raise ConnectionError("no bank")

    async def refuse_later(delivery: Delivery) -> None:
        raise ConnectionError("no bank")

    feature.handler("email")(refuse_later if asynchronous else refuse)

    answer = asyncio.run(post(app(feature)))
    assert (answer.status_code, answer.json()) == (200, {"success": False, "error": "ConnectionError: no bank"})


def test_a_coroutine_that_the_server_cancels_leaves_an_interrupted_job(feature: Feature, store: SqliteStore) -> None:
    headers, body = delivery("email", None, keys=KEY, job_id="job-1")

    async def stopped() -> None:
        begun = asyncio.Event()

        @feature.handler("email")
        async def send(delivery: Delivery) -> None:
            begun.set()
            await asyncio.Event().wait()

        wire = Wire({"type": "http.request", "body": body})
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        request = asyncio.create_task(app(feature)({**scope(), "headers": raw}, wire.receive, wire.send))
        await begun.wait()
        assert store.look("job-1").state == "running"
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(stopped())
    assert store.look("job-1").state == "interrupted"


def test_a_body_that_is_too_large_is_read_to_its_end_but_not_for_ever(
    feature: Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celadon_feature.asgi.DRAIN_BYTES", 1000)
    part = {"type": "http.request", "body": b"x" * 600, "more_body": True}
    short, endless = Wire(part, part, {"type": "http.request", "body": b"x"}), Wire(*[part] * 10)

    for wire in (short, endless):
        asyncio.run(app(feature)(scope(), wire.receive, wire.send))

    assert [wire.said[0]["status"] for wire in (short, endless)] == [413, 413]
    assert [len(wire.incoming) for wire in (short, endless)] == [0, 6]


def test_a_client_that_goes_away_in_the_midst_of_its_body_has_begun_nothing(feature: Feature) -> None:
    wire = Wire({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    asyncio.run(app(feature)(scope(), wire.receive, wire.send))
    assert wire.said == []


def test_a_body_in_parts_is_one_body(feature: Feature) -> None:
    feature.handler("email")(lambda delivery: delivery.data)
    headers, body = delivery("email", "whole", keys=KEY)
    parts = [{"type": "http.request", "body": body[n : n + 7], "more_body": True} for n in range(0, len(body), 7)]
    wire = Wire(*parts, {"type": "http.request"})
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    asyncio.run(app(feature)({**scope(), "headers": raw}, wire.receive, wire.send))

    assert json.loads(wire.said[1]["body"]) == {"success": True, "result": "whole"}


@pytest.mark.parametrize(
    ("path", "root_path", "status"),
    [
        (f"/mail{PATH}", "/mail", 401),
        (f"/mail{PATH}", "/mail/", 401),
        (PATH, "/mail", 401),  # As servers told it before ASGI said that the path has it all.
        (f"/mailbox{PATH}", "/mail", 404),
        ("/mail", "/mail", 404),
    ],
)
def test_it_can_be_mounted_under_a_prefix(feature: Feature, path: str, root_path: str, status: int) -> None:
    wire = Wire({"type": "http.request"})
    asyncio.run(app(feature)({**scope(path=path), "root_path": root_path}, wire.receive, wire.send))
    assert wire.said[0]["status"] == status  # 401: it is the right door, and nobody has signed.


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (None, ["startup.complete", "shutdown.complete"]),
        ("startup", ["startup.failed"]),
        ("shutdown", ["startup.complete", "shutdown.failed"]),
    ],
)
def test_what_handlers_need_lives_as_long_as_the_server(feature: Feature, fails: str | None, said: list[str]) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if fails == "startup":
            raise OSError("no database")
        happened.append("made")
        yield
        happened.append("closed")
        if fails == "shutdown":
            raise OSError("no database")

    wire = Wire({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    asyncio.run(app(feature, lifespan=lifespan)(scope("lifespan"), wire.receive, wire.send))

    assert [message["type"].removeprefix("lifespan.") for message in wire.said] == said
    assert happened == ([] if fails == "startup" else ["made", "closed"])
    assert not fails or wire.said[-1]["message"] == "OSError: no database"


def test_a_websocket_is_closed_and_what_is_unknown_is_no_scope(feature: Feature) -> None:
    wire = Wire()
    asyncio.run(app(feature)(scope("websocket"), wire.receive, wire.send))
    assert [message["type"] for message in wire.said] == ["websocket.close"]

    with pytest.raises(ValueError, match="'udp' is not known"):
        asyncio.run(app(feature)(scope("udp"), wire.receive, wire.send))
