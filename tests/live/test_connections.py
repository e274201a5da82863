"""How many connections a process holds, and what becomes of them when it forks."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor

from tests.eventually import eventually
from tests.live.platform import Warm
from tests.servers.process import free_port, kill_group, spawn


def clients(platform: Warm, ports: Container[int] | None = None) -> Counter[str]:
    """Connections to Redis by the names that their owners gave them; `ports`: only those that come from there."""
    with platform.redis.client() as broker:
        return Counter(
            client["name"]
            for client in broker.client_list()
            if ports is None or int(client["addr"].rpartition(":")[2]) in ports
        )


def test_a_producer_shares_one_redis_client_and_few_connections(platform: Warm, name: str) -> None:
    call = platform.caller()
    for n in range(30):
        call.submit("live.echo", f"{name}-{n}", confirm=True)
    assert call.ask("redis_clients_made") == 1
    its_own = clients(platform, call.ports())
    assert 1 <= its_own["celadon"] <= 2, "one connection for its one thread, another if the broker was probed meanwhile"
    assert sum(its_own.values()) <= 4
    call.stop()


def test_a_forking_web_server_shares_no_connection_between_its_processes(platform: Warm, name: str) -> None:
    port = free_port()
    server = spawn(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "tests.live.wsgi:application",
            "--preload",
            "--workers",
            "2",
            "--threads",
            "4",
            "--worker-class",
            "gthread",
            "--bind",
            f"127.0.0.1:{port}",
            "--timeout",
            "30",
        ],
        platform.folder / "gunicorn.log",
        # Eight threads that insert at once on two busy cores are no proof about forks: give them time.
        env={**platform.env, "LEDGER_TIMEOUT_S": "10"},
        cwd=platform.folder,
    )
    try:
        eventually("gunicorn answers", lambda: ask(port), within=30)
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(lambda _: ask(port), range(120)))
        assert all(receipts), "a request failed"
        assert len({receipt["job_id"] for receipt in receipts}) == 120
        for receipt in receipts:
            platform.until(receipt["job_id"], "succeeded")
    finally:
        kill_group(server)
        server.wait(10)


def ask(port: int) -> dict[str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            receipt: dict[str, str] = json.load(answer)
            return receipt
    except OSError:
        return {}
