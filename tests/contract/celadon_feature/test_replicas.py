"""Two replicas of one service, as processes, on each store: one effect for each job, whoever is asked."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from celadon_feature.feature import PATH
from tests.contract.celadon_feature.replica import feature, opened
from tests.contract.celadon_feature.replicas import Replica
from tests.eventually import eventually

ROUNDS = 20


class Asking:
    """Asks for the state of a job, by way of a replica that does nothing else."""

    def __init__(self, address: str) -> None:
        self._feature = feature(opened(address), "steady")

    def __call__(self, job_id: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._feature.handle("GET", f"{PATH}/{job_id}", {}, b"").body)
        return told


@pytest.fixture(scope="module")
def ask(address: str) -> Asking:
    return Asking(address)


def count(effects: Path, job_id: str) -> int:
    return effects.read_text().splitlines().count(job_id)


def test_of_two_replicas_that_get_a_job_at_once_one_does_it(
    replicas: list[Replica], effects: Path, ask: Asking
) -> None:
    for _ in range(ROUNDS):  # In the first one both replicas find a store that is not made yet.
        job_id = str(uuid.uuid4())
        for replica in replicas:
            replica.send(job_id)
        answers = [replica.answer() for replica in replicas]

        [did] = [answer for answer in answers if answer["status"] == 200 and not answer["replayed"]]
        [other] = [answer for answer in answers if answer is not did]
        assert other["status"] == 409 or (other["replayed"], other["result"]) == (True, did["result"])
        assert count(effects, job_id) == 1
        assert ask(job_id) == {"state": "done", "success": True, "result": did["result"], "attemptsMade": 0}


def test_of_a_replica_that_is_at_work_and_one_that_was_killed_only_the_latters_job_is_interrupted(
    replicas: list[Replica], effects: Path, ask: Asking, tmp_path: Path
) -> None:
    alive, killed = replicas
    kept, lost = str(uuid.uuid4()), str(uuid.uuid4())
    alive.send(kept, "brief", until=tmp_path / "go")
    eventually("it is begun", lambda: count(effects, kept) == 1)
    killed.send(lost, "brief", until=tmp_path / "never")
    eventually("it is begun", lambda: count(effects, lost) == 1)

    killed.kill()
    eventually("the one is interrupted", lambda: ask(lost) == {"state": "interrupted", "attemptsMade": 0})

    # Begun before it, with the same expiry, and renewed.
    assert ask(kept) == {"state": "running", "attemptsMade": 0}
    (tmp_path / "go").touch()
    assert alive.answer()["result"] == alive.name
    assert count(effects, kept) == 1

    assert alive.deliver(lost, "brief")["result"] == alive.name
    assert alive.deliver(lost, "brief")["replayed"]
    # Here is where "once" ends: what the handler had done before it was killed, it had done.
    assert count(effects, lost) == 2


def test_a_replica_that_stood_still_too_long_did_it_too_keeps_nothing_and_answers_as_the_other(
    replicas: list[Replica], effects: Path, ask: Asking, job_id: str, tmp_path: Path
) -> None:
    first, second = replicas
    first.send(job_id, "brief", until=tmp_path / "go")
    eventually("it is begun", lambda: count(effects, job_id) == 1)
    first.stop()
    eventually("it is interrupted", lambda: ask(job_id)["state"] == "interrupted")
    assert second.deliver(job_id)["result"] == second.name

    (tmp_path / "go").touch()
    first.go_on()

    late = first.answer()
    assert (late["replayed"], late["result"]) == (True, second.name)
    assert ask(job_id)["result"] == second.name
    # "Once" ends here as well: its handler went on.
    assert count(effects, job_id) == 2
