"""The feature's side on real servers, one suite for all: Flask on gunicorn, ASGI on uvicorn, the example for Node."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from celadon_feature import new_key
from celadon_feature.signing import parsed_keys
from celadon_feature.testing import delivery, signed
from tests.conftest import need
from tests.eventually import eventually
from tests.servers.process import find_program, free_port, kill_group, spawn

ROOT = Path(__file__).parents[2]
SERVICES = "tests.live.feature_services"
PATH = "/internal/process-job"
OLD, NEW = new_key(), new_key()


class Service:
    """One service with a store of its own; `kill` and `start` are what its host may do to it."""

    def __init__(self, server: str, folder: Path) -> None:
        self._port, self.log = free_port(), folder / f"{server}.log"
        bind, python = f"127.0.0.1:{self._port}", sys.executable
        gunicorn = [python, "-m", "gunicorn", f"{SERVICES}:flask_app()", "--bind", bind, "--no-control-socket"]
        self._command = {
            "gunicorn": [*gunicorn, "--worker-class", "gthread", "--workers", "2", "--threads", "4"],
            "uvicorn": [python, "-m", "uvicorn", f"{SERVICES}:asgi_app", "--factory", "--port", str(self._port)],
            "node": ["node", "tests/live/feature_service.mjs"],
            "example": ["node", "examples/feature/feature.mjs"],
        }[server]
        # Both keys, while the one replaces the other.
        keys, store = f"{NEW} {OLD}", str(folder / f"{server}.store")
        self._env = {"KEYS": keys, "SIGNING_KEYS": keys, "STORE": store, "JOURNAL": store, "PORT": str(self._port)}
        self.url = f"http://{bind}{PATH}"
        self._client = httpx.Client(timeout=20)
        self.start()

    def start(self) -> None:
        env = {**os.environ, **self._env, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = spawn(self._command, self.log, cwd=ROOT, env=env)
        eventually("it answers", self._answers, within=20)

    def kill(self, by: signal.Signals = signal.SIGKILL) -> int:
        kill_group(self.process, by)
        return self.process.wait(20)

    def deliver(self, job_id: str, data: Any = None, attempts: int = 0, key: str = NEW) -> httpx.Response:
        headers, body = delivery("email", data or {}, keys=key, job_id=job_id, attempts_made=attempts)
        return self.post(body, headers)

    def post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return self._client.post(self.url, headers=headers, content=body)

    def ask(self, job_id: str, key: str = NEW) -> httpx.Response:
        return self._client.get(f"{self.url}/{job_id}", headers=signed(job_id, keys=key))

    def close(self) -> None:
        self.kill()
        self._client.close()

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"it ended at its start:\n{self.log.read_text()[-2000:]}"
        try:
            return self._client.get(f"{self.url}/x").status_code == 401
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module", params=["gunicorn", "uvicorn", "node"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if request.param == "node":
        need(lambda: find_program("node"))
    made = Service(request.param, tmp_path_factory.mktemp("feature"))
    yield made
    made.close()


@pytest.fixture(params=["node"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service in Node of the test's own."""
    need(lambda: find_program("node"))
    made = Service(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def job_id() -> str:
    return str(uuid.uuid4())


class Delivering:
    """A delivery that is under way."""

    def __init__(self, service: Service, job_id: str, until: Path) -> None:
        self.answer: httpx.Response | None = None
        self._until = until
        self._thread = threading.Thread(target=self._deliver, args=(service, job_id))
        self._thread.start()
        eventually("it is at work", lambda: service.ask(job_id).json()["state"] == "running")

    def _deliver(self, service: Service, job_id: str) -> None:
        headers, body = delivery("email", {"until": str(self._until)}, keys=NEW, job_id=job_id)
        try:
            self.answer = httpx.post(service.url, headers=headers, content=body, timeout=20)
        except httpx.TransportError:
            self.answer = None  # It was killed.

    def let_end(self) -> httpx.Response | None:
        self._until.touch()
        self._thread.join()
        return self.answer


def test_a_job_is_done_once_and_its_answer_is_kept(service: Service, job_id: str) -> None:
    assert service.ask(job_id).json() == {"state": "unknown"}

    first, again = service.deliver(job_id, {"to": "ädä"}), service.deliver(job_id, {"to": "another"}, attempts=1)

    assert (first.status_code, first.json()) == (200, {"success": True, "result": {"to": "ädä"}})
    assert (again.status_code, again.json()) == (200, first.json())
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert first.headers["Content-Type"] == "application/json"
    assert service.ask(job_id).json() == {"state": "done", **first.json(), "attemptsMade": 0}


def test_a_failure_is_kept_for_its_try(service: Service, job_id: str) -> None:
    failed, again = service.deliver(job_id, {"error": "no"}), service.deliver(job_id)
    done = service.deliver(job_id, {"to": "ada"}, attempts=1)

    told = failed.json()
    assert (failed.status_code, told["success"], told["permanent"]) == (200, False, True)
    assert told["error"].endswith(": no")
    assert again.json() == told
    assert done.json() == {"success": True, "result": {"to": "ada"}}
    assert service.ask(job_id).json()["attemptsMade"] == 1


def test_a_second_delivery_meanwhile_is_told_so(service: Service, job_id: str, tmp_path: Path) -> None:
    first = Delivering(service, job_id, tmp_path / "go")

    assert service.deliver(job_id).status_code == 409
    assert service.ask(job_id).json() == {"state": "running", "attemptsMade": 0}

    answer = first.let_end()
    assert answer is not None
    assert answer.json()["success"]


def test_either_key_has_signed_and_no_other(service: Service, job_id: str) -> None:
    both = f"{new_key()} {OLD}"
    assert [service.ask(job_id, key).status_code for key in (OLD, NEW, both, new_key())] == [200, 200, 200, 401]
    assert service.deliver(job_id, key=new_key()).status_code == 401
    assert service.deliver(job_id, key=OLD).status_code == 200


def test_what_is_not_signed_as_it_came_is_refused(service: Service, job_id: str) -> None:
    headers, body = delivery("email", {}, keys=NEW, job_id=job_id)
    old, old_body = delivery("email", {}, keys=NEW, job_id=job_id, at=1_000_000_000)

    for changed, sent in [
        (headers, body + b" "),
        ({**headers, "webhook-id": "other"}, body),
        ({**headers, "webhook-signature": ""}, body),
        ({}, body),
        (old, old_body),
    ]:
        answer = service.post(sent, changed)
        assert (answer.status_code, answer.json()["success"]) == (401, False)
    assert service.ask(job_id).json() == {"state": "unknown"}


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("{", 400),
        ("null", 400),
        ({"queueName": "email", "data": 1, "attemptsMade": 0}, 400),
        ({"jobId": "JOB", "queueName": "email", "attemptsMade": 0}, 400),
        ({"jobId": "JOB", "queueName": "email", "data": 1, "attemptsMade": -1}, 400),
        ({"jobId": "other", "queueName": "email", "data": 1, "attemptsMade": 0}, 400),
        ({"jobId": "JOB", "queueName": "toString", "data": 1, "attemptsMade": 0}, 404),
        ({"jobId": "JOB", "queueName": "email", "data": "x" * 4 * 1024 * 1024, "attemptsMade": 0}, 413),
    ],
    ids=["no JSON", "null", "no id", "no data", "attempts", "another job's", "no handler", "too large"],
)
def test_what_is_no_delivery_is_refused_by_its_status(service: Service, job_id: str, told: Any, status: int) -> None:
    body = (told if isinstance(told, str) else json.dumps(told)).replace("JOB", job_id).encode()
    answer = service.post(body, {"Content-Type": "application/json", **signed(job_id, body, keys=NEW)})
    assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert service.ask(job_id).json() == {"state": "unknown"}


def test_a_service_that_is_stopped_answers_what_is_under_way(service: Service, job_id: str, tmp_path: Path) -> None:
    under_way = Delivering(service, job_id, tmp_path / "go")

    service.process.send_signal(signal.SIGTERM)

    answer = under_way.let_end()
    assert answer is not None
    assert answer.json()["success"]
    service.kill()
    service.start()
    assert service.ask(job_id).json()["state"] == "done"


def test_the_example_for_node_knows_after_a_kill_what_it_was_doing(node: Service, job_id: str, tmp_path: Path) -> None:
    lost = Delivering(node, job_id, tmp_path / "go")

    node.kill()
    node.start()

    assert lost.let_end() is None
    assert node.ask(job_id).json() == {"state": "interrupted", "attemptsMade": 0}
    assert node.deliver(job_id).json() == {"success": True, "result": {}}
    node.kill()
    node.start()
    assert node.ask(job_id).json()["state"] == "done"


def test_the_example_for_node_does_no_job_that_its_journal_can_not_note(
    node: Service, job_id: str, tmp_path: Path
) -> None:
    largest, most = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
    little_room = (tmp_path / "node.store").stat().st_size + 20

    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (little_room, most))
    assert node.deliver("no-room").status_code == 500
    assert node.ask("no-room").json() == {"state": "unknown"}

    # What half a note was written of does not spoil the next one.
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (largest, most))
    lost = Delivering(node, job_id, tmp_path / "go")
    node.kill()
    node.start()
    assert lost.let_end() is None
    assert node.ask(job_id).json() == {"state": "interrupted", "attemptsMade": 0}


def test_the_example_for_node_takes_the_keys_that_the_kit_takes() -> None:
    need(lambda: find_program("node"))
    short, long = (f"whsec_{base64.b64encode(b'k' * size).decode()}" for size in (24, 64))
    wrong = [f"whsec_{base64.b64encode(b'k' * size).decode()}" for size in (0, 1, 23, 65)]
    offered = [short, f"{short},{long}", "", *wrong, f"{short} {wrong[0]}", " ".join([short] * 3)]
    offered += [short.removeprefix("whsec_"), short[:-1], f"{short[:10]}-{short[11:]}"]
    script = """
        import { feature } from "./examples/feature/feature.mjs";
        for (const keys of JSON.parse(process.argv[1])) {
          try { feature({ keys, handlers: {} }); console.log("taken"); } catch (error) { console.log(error.message); }
        }"""

    command = ["node", "--input-type=module", "-e", script, json.dumps(offered)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout

    assert [said == "taken" for said in told.splitlines()] == [is_key(keys) for keys in offered]
    assert not any(keys.removeprefix("whsec_") in told for keys in offered if len(keys) > 20)


def is_key(keys: str) -> bool:
    try:
        return bool(parsed_keys(keys))
    except ValueError:
        return False


@pytest.mark.parametrize("node", ["example"], indirect=True)
def test_the_example_for_node_runs_as_its_first_lines_say(node: Service, job_id: str) -> None:
    done, refused = node.deliver(job_id, {"to": "ada"}), node.deliver(str(uuid.uuid4()))

    assert done.json() == {"success": True, "result": {"sent_to": "ada", "message_id": job_id}}
    assert refused.json() == {"success": False, "error": "Error: data.to is needed", "permanent": True}
    assert node.kill(signal.SIGTERM) == 0
    assert "jobs are taken at" in node.log.read_text()
