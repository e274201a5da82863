"""`celadon web` stops when it is told to, whoever is connected."""

from __future__ import annotations

import signal
import threading
import time

import httpx

from tests.eventually import eventually
from tests.live.platform import Platform
from tests.servers.process import celadon, free_port, spawn


def test_streams_and_waits_do_not_hold_a_server_that_is_told_to_stop(fresh: Platform) -> None:
    job_id = fresh.caller().submit("live.echo", "later", delay=3600)["job_id"]
    key = fresh.command("keys", "create", "watcher", "--scope", "read").strip()
    url = f"http://127.0.0.1:{free_port()}"
    env = {**fresh.env, "WEB_BIND": url.removeprefix("http://"), "WEB_WORKERS": "2"}
    server = spawn(celadon("web"), fresh.folder / "web.log", env=env, cwd=fresh.folder)
    waited: list[int] = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        eventually("it serves", lambda: serves(client), within=20)

        def wait() -> None:
            waited.append(client.get(f"/api/jobs/{job_id}", params={"wait": 30}).status_code)

        waiting = threading.Thread(target=wait)
        waiting.start()
        with client.stream("GET", f"/api/jobs/{job_id}/events") as stream:
            lines = stream.iter_lines()
            assert any(line.startswith("data: ") for line in lines)  # It is being told.
            told = time.monotonic()
            server.send_signal(signal.SIGTERM)
            assert [line for line in lines if line.startswith("event: end")] == []  # Cut off, not ended.
        waiting.join(10)
        assert server.wait(10) == 0
        assert time.monotonic() - told < 5
    assert waited == [200]


def serves(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
