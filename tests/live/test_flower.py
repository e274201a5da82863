"""Flower as `make up` runs it, beside real workers: it shows our jobs, is locked, and does nothing to them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import httpx
import pytest
from celery import Celery

from deploy.environment import Secrets
from deploy.redis import redis_users
from deploy.stack import ROOT, Ports, Program, Stack
from tests.conftest import need
from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.live.caller import Caller
from tests.live.nodes import Workers
from tests.live.platform import CONFIG, Platform
from tests.servers import RedisServer
from tests.servers.process import free_port, kill_group, spawn

LANES = ("default", "data_sync", "scheduled")
SECRETS = Secrets(
    secret_key="", flower_basic_auth="celadon:right", flower_cookie_secret="c", flower_redis_password="for-redis"
)


class Flower:
    """The process, and a client that knows the password."""

    def __init__(self, platform: Platform, program: Program, port: int) -> None:
        # It waits so long for each answer to a question, whether all have answered or not.
        self._env = {**platform.env, **program.environment, "FLOWER_INSPECT_TIMEOUT": "300"}
        self._command = program.command
        self._process: subprocess.Popen[bytes] | None = None
        self.log = platform.folder / "flower.log"
        self.stranger = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        user, _, password = self._env["FLOWER_BASIC_AUTH"].partition(":")
        self.friend = httpx.Client(base_url=self.stranger.base_url, auth=(user, password), trust_env=False)

    def start(self) -> None:
        """Start it; returns when it has asked every lane's worker."""
        self._process = spawn(self._command, self.log, env=self._env, cwd=ROOT)
        eventually("Flower answers", self._answers, within=30)
        eventually("Flower knows the workers", lambda: len(self.read("/api/workers?refresh=true")) == len(LANES))

    def attempt(self, **more: str) -> subprocess.CompletedProcess[str]:
        """Start one that is not expected to stay."""
        env = {**self._env, **more}
        return subprocess.run(self._command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    def end(self, by: Signals) -> None:
        assert self._process is not None
        kill_group(self._process, by)
        self._process.wait(10)

    def read(self, path: str) -> dict[str, Any]:
        answer = self.friend.get(path)
        assert answer.status_code == 200, answer.text
        read: dict[str, Any] = answer.json()
        return read

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.stranger.get("/healthcheck").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers) -> Iterator[Platform]:
    """Workers of all lanes on a Redis with its users, and no scheduler: nobody but Flower could send anything again."""
    folder = tmp_path_factory.mktemp("flower")
    (folder / "users.conf").write_text(redis_users(SECRETS.flower_redis_password))
    redis = need(lambda: RedisServer(folder, ("--include", str(folder / "users.conf"))))
    redis.start()
    deployment = Platform(
        folder, redis, ledgers.fresh("sqlite", CONFIG), {"CELERY_CONFIG_MODULE": "tests.live.unhurried"}
    )
    Workers(*map(deployment.worker, LANES)).start()
    yield deployment
    deployment.stop()
    redis.stop()


@pytest.fixture(scope="module")
def call(platform: Platform) -> Caller:
    return platform.caller()


@pytest.fixture(scope="module")
def flower(platform: Platform) -> Iterator[Flower]:
    port = free_port()
    ports = Ports(web=0, mail=0, redis=platform.redis.port, flower=port)
    stack = Stack(folder=platform.folder, ports=ports, secrets=SECRETS)
    (program,) = [program for program in stack.programs() if program.name == "flower"]
    made = Flower(platform, program, port)
    made.start()
    yield made
    made.end(SIGKILL)


def on_the_broker(platform: Platform) -> dict[str, list[str]]:
    """Every message: those in the queues in order, and those that workers hold."""
    with platform.redis.client() as broker:
        return {lane: [*broker.lrange(lane, 0, -1), *sorted(broker.hkeys(f"unacked:{lane}"))] for lane in LANES}


def epochs(platform: Platform, job_ids: Iterable[str]) -> list[int]:
    """How often each job was claimed, released or taken away: the number that every change of hands raises."""
    return [platform.job(job_id)["epoch"] for job_id in job_ids]


def test_every_lane_is_shown_with_its_queue(flower: Flower) -> None:
    workers = flower.read("/api/workers")
    queues = {name.partition("@")[0]: [q["name"] for q in told["active_queues"]] for name, told in workers.items()}
    assert queues == {lane: [lane] for lane in LANES}
    told = flower.read("/api/queues/length")["active_queues"]
    assert {queue["name"]: queue["messages"] for queue in told} == dict.fromkeys(LANES, 0)


@pytest.mark.parametrize("path", ["/", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length"])
def test_nothing_is_shown_without_the_password(flower: Flower, path: str) -> None:
    assert flower.stranger.get(path).status_code == 401
    assert flower.stranger.get(path, auth=("celadon", "a guess")).status_code == 401
    assert flower.friend.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["worker/shutdown/{worker}", "worker/queue/cancel-consumer/{worker}?queue=default", "task/revoke/1"]
)
def test_nobody_steers_with_the_password_either(flower: Flower, path: str) -> None:
    answer = flower.friend.post("/api/" + path.format(worker=next(iter(flower.read("/api/workers")))))
    assert (answer.status_code, answer.text) == (403, "Read only mode is enabled")


def test_our_jobs_are_shown_by_name_and_id_and_without_what_is_in_them(
    platform: Platform, call: Caller, flower: Flower, name: str
) -> None:
    def shown() -> str:
        # Workers tell nothing of their tasks until Flower has asked them to, some seconds after its start.
        job_id: str = call.submit("live.echo", name)["job_id"]
        platform.until(job_id, "succeeded")
        return job_id if flower.read("/api/tasks").get(job_id, {}).get("name") else ""

    job_id = eventually("a job is shown", shown, within=15)
    eventually("it is done", lambda: flower.read(f"/api/task/info/{job_id}")["state"] == "SUCCESS")
    told = flower.read(f"/api/task/info/{job_id}")
    assert (told["name"], told["uuid"], told["worker"].partition("@")[0]) == ("live.echo", job_id, "default")
    assert (told["args"], told["kwargs"], told["result"]) == ("", "", "None")
    assert name not in str(flower.read("/api/tasks"))


def test_ending_and_starting_it_sends_no_job_again(platform: Platform, call: Caller, flower: Flower, name: str) -> None:
    kinds = {"live.stepped": (4, 6), "live.sync.stepped": (2, 3)}  # So many at a time, so many jobs in all.
    jobs = {
        f"{name}-{job}-{n}": call.submit(job, f"{name}-{job}-{n}")["job_id"]
        for job, (_, number) in kinds.items()
        for n in range(number)
    }
    slots = sum(at_a_time for at_a_time, _ in kinds.values())
    eventually("all slots are busy", lambda: sum(bool(platform.gates.reached(each)) for each in jobs) == slots)
    before = on_the_broker(platform), epochs(platform, jobs.values())
    assert sum(map(len, before[0].values())) == len(jobs)

    for by in (SIGTERM, SIGKILL):
        flower.end(by)
        flower.start()

    assert (on_the_broker(platform), epochs(platform, jobs.values())) == before
    for each, job_id in jobs.items():
        platform.gates.open(each)
        platform.until(job_id, "succeeded")
        assert platform.attempts(job_id) == ["succeeded"]
        assert len(platform.gates.reached(each)) == 1
    eventually("the broker is empty", lambda: not any(on_the_broker(platform).values()))


def test_its_user_of_redis_was_refused_nothing_it_asked_for(platform: Platform, flower: Flower) -> None:
    with platform.redis.client() as broker:
        assert {client["user"] for client in broker.client_list()} >= {"flower", "default"}
        assert broker.acl_log() == []
    assert "NOPERM" not in flower.log.read_text()
    assert "Traceback" not in flower.log.read_text()


def test_an_answer_that_its_user_sends_astray_into_a_queue_is_thrown_away(
    platform: Platform, call: Caller, name: str
) -> None:
    url = f"redis://flower:{SECRETS.flower_redis_password}@127.0.0.1:{platform.redis.port}/0"
    astray = {"exchange": "", "routing_key": "data_sync"}
    question = {"method": "ping", "ticket": "1", "reply_to": astray}
    with Celery(broker=url, set_as_current=False) as asker, asker.connection() as connection:
        everybody = asker.control.mailbox.exchange(connection.default_channel)
        connection.Producer().publish(question, exchange=everybody, declare=[everybody])

    (log,) = platform.folder.glob("data_sync-*.log")
    eventually("all answers are gone", lambda: log.read_text().count("deleted unknown message") == len(LANES))
    platform.gates.open(name)
    platform.until(call.submit("live.sync.stepped", name)["job_id"], "succeeded")
    eventually("the broker is empty", lambda: not any(on_the_broker(platform).values()))


def test_it_does_not_start_without_a_password(flower: Flower) -> None:
    done = flower.attempt(FLOWER_BASIC_AUTH="celadon:")
    assert (done.returncode, done.stderr) == (
        1,
        "Flower would be open to everybody: set FLOWER_BASIC_AUTH=user:password\n",
    )
