"""A stack under supervisor: programs can be killed and started alone, and nothing is left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack import Ports, Stack
from deploy.supervision import NotReady, Supervisor, free_ports, listening, until


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """The two servers of a stack, running."""
    web, redis, mail, flower = free_ports(4)
    ports = Ports(web=web, redis=redis, mail=mail, flower=flower)
    made = Supervisor(Stack(folder=tmp_path / "a folder", ports=ports, restart=False), ["redis", "mail"])
    made.start()
    until("both listen", lambda: listening(redis) and listening(mail), within_s=20)
    yield made
    made.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_program_is_reported_and_can_be_started_again(supervisor: Supervisor) -> None:
    redis = supervisor.stack.ports.redis
    first = supervisor.kill("redis")
    assert not listening(redis)
    with pytest.raises(NotReady, match=r"redis ended by itself; see .*redis\.log"):
        supervisor.check()
    supervisor.launch("redis")
    until("it listens again", lambda: listening(redis), within_s=20)
    assert supervisor.pid("redis") != first


def test_stopping_leaves_nothing(supervisor: Supervisor) -> None:
    pids = [supervisor.pid(name) for name in supervisor.names()]
    supervisor.stop()
    assert not any(alive(pid) for pid in pids)
    assert not supervisor.running


def test_an_interrupt_while_stopping_kills_what_is_left(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    pids = [supervisor.pid(name) for name in supervisor.names()]
    monkeypatch.setattr(supervisor, "_drain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        supervisor.stop()
    until("all are gone", lambda: not any(alive(pid) for pid in pids), within_s=10)
