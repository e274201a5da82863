"""`celadon fleet`: how the delegated queues do, in a terminal."""

from __future__ import annotations

import json

import pytest

from celadon import delegate
from celadon.jobs import RequestView
from celadon.ledger import circuits, deliveries, presence, switches
from celadon.ledger.limits import set_limits
from celadon.ledger.presence import Worker
from celadon.limits import Limit
from tests.contract.given import a_claim, change
from tests.unit.celadon.cli.given import celadon, refused
from tests.unit.celadon.delegation.conftest import Register, register

__all__ = ["register"]  # A fixture of delegation's.

pytestmark = pytest.mark.usefixtures("ledger", "registered")


@pytest.fixture
def registered(register: Register) -> None:
    """The queues `email` and `letters`. The first has limits, and a worker."""
    register("http://127.0.0.1:4010")
    set_limits("queue", "email", [Limit(concurrency=5)], actor="test")
    presence.appear(
        Worker(id="host:boot", host="host", pid=7, lane="delegated", queues=("email",), tasks=(), concurrency=256)
    )


def lines(*words: str) -> list[str]:
    said = celadon("fleet", *words)
    assert said.exit_code == 0, said.output
    return [" ".join(line.split()) for line in said.stdout.splitlines()]


def test_each_queue_has_a_line() -> None:
    for _ in range(3):
        delegate("letters", {})
    claim = a_claim(delegate("letters", {}).job_id)
    request = RequestView(method="POST", url="http://mail/", headers={}, body="")
    deliveries.keep(claim, verdict="mail: answered 500", seconds=0.1, request=request, answer=None)

    titles, email, letters = lines()

    assert titles == "QUEUE SERVICE STATE UNDER WAY DUE LATER DEAD OLDEST DRAINED LAST ERROR"
    assert email == "email mail runs 0 of 5 0 0 0 - 0 s -"
    assert letters == "letters mail not consumed 1 3 0 0 0 s - mail: answered 500"


def test_a_pause_is_told_and_goes_behind_a_circuit() -> None:
    switches.pause("queue", "email")
    assert lines("email")[1].startswith("email mail paused")

    for _ in range(circuits.FAILURES):
        circuits.failed("mail", "refused", ["email"], probe=False)
    assert lines("email")[1].startswith("email mail circuit open")


def test_only_some_queues_or_everything_as_json() -> None:
    assert [line.split()[0] for line in lines("letters")] == ["QUEUE", "letters"]
    assert "did you mean 'letters'" in refused("fleet", "leters")

    told = json.loads(celadon("fleet", "--json").stdout)
    assert [one["name"] for one in told["queues"]] == ["email", "letters"]


def test_beside_the_output_it_says_what_is_wrong_with_workers_and_the_file(register: Register) -> None:
    assert celadon("fleet").stderr == "workers: 1\n"

    presence.beat("host:boot", lost_slots=2)
    change(delegate("letters", {}).job_id, queue="gone")
    with pytest.raises(AssertionError):
        register("http://127.0.0.1:4010", timout="5")

    said = celadon("fleet").stderr
    assert "workers: 1; stalled: host:boot\n" in said
    assert "no longer in the registration file, and with jobs left: gone\n" in said
    assert "can't be used as it stands: delegation.toml:" in said
