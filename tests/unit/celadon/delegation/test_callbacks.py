"""Telling whoever asked how a job has ended: what the receiver gets, and what becomes of its answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import celadon.delegation.callbacks
from celadon import delegate
from celadon.delegation import lookups, telling
from celadon.ledger import claims
from celadon.ledger.db import reading
from celadon.ledger.tables import jobs
from celadon.run import Ran, Runner, run_job
from celadon.settings import overridden
from celadon.states import State
from celadon_feature.signing import parsed_keys, verify
from tests.contract.given import FAILURE, WORKER, a_claim, change, row
from tests.servers import FeatureServer
from tests.servers.feature import Behaviour, answer, cut, hang
from tests.unit.celadon.delegation.conftest import Register

pytestmark = pytest.mark.usefixtures("ledger")

KEYS = f"whsec_{'C' * 32} whsec_{'D' * 32}"


@pytest.fixture
def ended(feature: FeatureServer, register: Register) -> Callable[[State], str]:
    """Brings a job whose end is to be told to this end; returns the id of the job that tells."""
    receiver = f'[callbacks."{feature.url}"]\nkeys = {{ env = "HOOK_KEYS" }}\nnetworks = ["loopback"]'
    register(feature.url, receiver=receiver)

    def end(how: State, result: Any = None) -> str:
        claim = a_claim(delegate("email", {}, callback=f"{feature.url}/hook").job_id)
        if how == State.DEAD:
            claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)
        else:
            claims.finish(claim, result)
        assert telling.Telling().turn() == 1
        with reading() as connection:
            return str(connection.execute(jobs.select().where(jobs.c.name == "delegation.callback")).one().id)

    return end


def tell(job_id: str) -> Ran:
    change(job_id, state=State.QUEUED)
    with overridden(hook_keys=KEYS):
        return run_job(job_id, Runner(worker=WORKER))


def test_a_receiver_is_told_of_a_success_signed_with_its_own_keys(feature: FeatureServer, ended: Any) -> None:
    job_id = ended(State.SUCCEEDED, {"mails": 1})
    made = row(job_id)
    assert (made.queue, made.tenant, made.state) == ("callbacks", feature.url, "scheduled")

    assert tell(job_id).state == State.SUCCEEDED

    [told] = feature.received
    assert (told.method, told.path) == ("POST", "/hook")
    assert told.told == {
        "jobId": made.payload["told"]["jobId"],
        "queueName": "email",
        "state": "succeeded",
        "result": {"mails": 1},
    }
    for key in KEYS.split():
        assert verify(told.headers, told.body, parsed_keys(key), now=time.time(), max_age_s=60) == job_id == told.key


def test_a_receiver_is_told_of_a_death_with_its_error(feature: FeatureServer, ended: Any) -> None:
    tell(ended(State.DEAD))

    [told] = feature.received
    assert (told.told["state"], told.told["error"]["message"]) == ("dead", FAILURE.message)
    assert "result" not in told.told


@pytest.mark.parametrize(
    ("behaviour", "becomes", "message"),
    [
        (answer(202, body=b"thanks"), State.SUCCEEDED, None),
        (answer(500, {}), State.SCHEDULED, "answered 500"),
        (answer(404, {}), State.SCHEDULED, "answered 404"),
        (answer(302, {}, "Location: http://169.254.169.254/"), State.SCHEDULED, "answered 302"),
        (answer(410, {}), State.DEAD, "not to be told again"),
        (cut, State.SCHEDULED, "127.0.0.1"),
    ],
    ids=["took note", "broken", "not there yet", "elsewhere", "gone", "cut"],
)
def test_what_the_receiver_s_answer_means(
    feature: FeatureServer, ended: Any, behaviour: Behaviour, becomes: State, message: str | None
) -> None:
    job_id = ended(State.SUCCEEDED)
    feature.posts = [behaviour]

    ran = tell(job_id)

    assert ran.state == becomes
    assert (ran.error is None) if message is None else (message in (ran.error or ""))
    assert len(feature.received) == 1


def test_a_receiver_that_asks_for_time_burns_no_try(feature: FeatureServer, ended: Any) -> None:
    job_id = ended(State.SUCCEEDED)
    feature.posts = [answer(503, {}, "Retry-After: 30")]

    assert tell(job_id).state == State.SCHEDULED
    assert row(job_id).attempt == 0


def test_a_receiver_that_hangs_is_tried_again(feature: FeatureServer, ended: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(celadon.delegation.callbacks, "WHOLE_S", 0.3)
    job_id = ended(State.SUCCEEDED)
    feature.posts = [hang]

    ran = tell(job_id)

    assert (ran.state, row(job_id).attempt) == (State.SCHEDULED, 1)


def test_a_receiver_that_is_not_registered_any_more_is_told_nothing(
    feature: FeatureServer, ended: Any, register: Register
) -> None:
    job_id = ended(State.SUCCEEDED)
    register(feature.url)

    assert "may not be sent results any more" in (tell(job_id).error or "")
    assert row(job_id).state == State.DEAD
    assert feature.received == []


def test_addresses_are_judged_as_those_of_services_are(
    feature: FeatureServer, ended: Any, register: Register, monkeypatch: Any
) -> None:
    job_id = ended(State.SUCCEEDED)
    local = feature.url.replace("127.0.0.1", "hooks.example")
    register(feature.url, receiver=f'[callbacks."{local}"]')
    change(job_id, payload={**row(job_id).payload, "url": f"{local}/hook"})
    monkeypatch.setattr(lookups.shared, "_ask", lambda _: ("127.0.0.1",))

    assert "it is a loopback address" in (tell(job_id).error or "")
    assert feature.received == []
