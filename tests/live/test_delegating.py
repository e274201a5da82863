"""The fleet as it runs: what the file says is consumed, limited and told of, and a change of it needs no restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from celadon_feature.answers import Refused
from celadon_feature.signing import parsed_keys, verify
from tests.conftest import need
from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.live.delegating import CONFIG, KEYS, Delegating, connections
from tests.servers import FeatureServer, RedisServer
from tests.servers.feature import Peer, Received, answer, fail, hang, succeed


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers) -> Iterator[Delegating]:
    folder = tmp_path_factory.mktemp("delegating")
    feature = FeatureServer()
    feature.start()
    redis = need(lambda: RedisServer(folder))
    redis.start()
    made = Delegating(folder, redis, ledgers.fresh("sqlite", CONFIG))
    made.begin(feature)
    yield made
    made.stop()
    redis.stop()
    feature.stop()


@pytest.fixture
def fleet(deployment: Delegating) -> Iterator[Delegating]:
    """The deployment with one queue, `email`, and a service that succeeds."""
    yield deployment
    deployment.feature.otherwise["POST"] = succeed()
    deployment.register(["email"])

    def as_it_was() -> bool:
        told = deployment.ask("/internal/status")[1].get("registration", {})
        return told.get("queues") == 1 and deployment.consumed() == {"email", "callbacks"}

    eventually("the fleet is as it was", as_it_was)


def test_a_job_is_delivered_and_its_result_is_kept(fleet: Delegating) -> None:
    fleet.feature.otherwise["POST"] = succeed({"mails": 1})

    row = fleet.until(fleet.delegate("email", {"to": "mina"}), "succeeded")

    assert json.loads(row["result"]) == {"mails": 1}
    assert row["max_attempts"] == 3
    assert fleet.feature.of("POST")[-1].told["data"] == {"to": "mina"}


def test_a_new_queue_is_submitted_to_consumed_and_limited_without_a_restart(fleet: Delegating) -> None:
    fleet.register(["email", "push"], concurrency="7", rate='"50/1s"')

    eventually("the worker says that it consumes it", lambda: "push" in fleet.consumed())
    assert fleet.limits()["push"] == [{"concurrency": 7, "starts": 50, "per_s": 1.0}]  # Nothing ran without them.
    fleet.until(fleet.delegate("push"), "succeeded")
    assert fleet.limits()["email"][0]["concurrency"] == 7


def test_jobs_of_a_queue_that_was_removed_wait_and_are_told_of(fleet: Delegating) -> None:
    fleet.register(["email", "push"])
    eventually("it is consumed", lambda: "push" in fleet.consumed())
    job_id = fleet.delegate("push", delay=1.5)
    fleet.register(["email"])
    eventually("it is consumed no more", lambda: "push" not in fleet.consumed())
    eventually("its limits are gone", lambda: "push" not in fleet.limits())

    def told() -> bool:
        removed = fleet.ask("/internal/status")[1]["removed"]
        return [one["name"] for one in removed] == ["push"] and removed[0]["counts"]["queued"] == 1

    eventually("its job is told of", told)
    fleet.register(["email", "push"])
    fleet.until(job_id, "succeeded", within=20)


def test_a_bad_file_changes_nothing_and_is_told_of(fleet: Delegating) -> None:
    fleet.write('[queues.email]\nservise = "mail"\n')

    def told() -> str:
        return str(fleet.ask("/internal/status")[1]["registration"]["error"] or "")

    eventually("what is wrong with the file is told", lambda: "delegation.toml:2: queues.email.servise" in told())
    assert fleet.ask("/internal/status")[1]["registration"]["queues"] == 1
    fleet.until(fleet.delegate("email"), "succeeded")


def test_a_queue_that_came_while_the_broker_was_away_is_consumed_when_it_is_back(fleet: Delegating) -> None:
    def said(event: str) -> int:
        return fleet.fleet.container.logs().count(f'"{event}"')

    began, ended = said("relief.began"), said("relief.ended")
    fleet.redis.kill()
    eventually("the worker has noticed", lambda: said("relief.began") > began)
    fleet.register(["email", "push"])
    eventually("the worker works it", lambda: "push" in fleet.consumed())
    fleet.until(fleet.delegate("push", "by relief"), "succeeded")

    fleet.redis.start()
    eventually("the worker has noticed", lambda: said("relief.ended") > ended)
    fleet.until(fleet.delegate("push", "by a message"), "succeeded")
    assert said("relief.began") == began + 1  # It took nothing from the ledger since.


def test_what_the_fleet_tells_of_a_queue(fleet: Delegating) -> None:
    fleet.feature.otherwise["POST"] = hang
    fleet.register(["email", "slow"], rate='"50/1s"', attempts="1")
    eventually("it is consumed and limited", lambda: "slow" in fleet.consumed() and "slow" in fleet.limits())
    for _ in range(3):
        fleet.delegate("slow")

    eventually("two are under way", lambda: fleet.status_of("slow")["in_flight"] == 2)
    told = fleet.status_of("slow")
    assert (told["running"], told["workers"], told["service"]) == (True, 1, "mail")
    assert (told["concurrency"], told["rate"]["starts"]) == (2, 50)
    assert (told["counts"]["running"], told["counts"]["waiting"]) == (2, 1)
    assert told["oldest_s"] > 0
    assert told["circuit"]["state"] == "closed"
    assert told["drained_in_s"] is None
    assert fleet.status_of("email")["drained_in_s"] == 0

    fleet.feature.otherwise["POST"] = fail("no such template")
    failed = fleet.delegate("email")
    fleet.until(failed, "dead")
    eventually("the error is told", lambda: (fleet.status_of("email")["last_error"] or {}).get("job_id") == failed)
    assert "no such template" in fleet.status_of("email")["last_error"]["message"]

    fleet.command("pause", "email", "--reason", "new templates")
    eventually("the pause is told", lambda: fleet.status_of("email")["paused"])
    assert fleet.status_of("email")["pause"] == {"reason": "new templates", "until": None}
    fleet.command("resume", "email")
    eventually("what hung has failed", lambda: fleet.status_of("slow")["counts"]["dead"] == 3, within=25)


def test_health_tells_of_what_it_depends_on(fleet: Delegating) -> None:
    status, told = fleet.ask("/health")
    assert (status, told["status"]) == (200, "ok")
    assert {name: one["status"] for name, one in told["dependencies"].items()} == {
        "ledger": "up",
        "broker": "up",
        "resolver": "up",
    }

    fleet.redis.kill()
    eventually("the broker's absence is told", lambda: fleet.ask("/health")[1]["status"] == "degraded")
    assert fleet.ask("/health")[0] == 200
    fleet.redis.start()
    eventually("all is well", lambda: fleet.ask("/health")[1]["status"] == "ok")


def test_a_second_worker_on_the_host_says_that_the_port_is_taken_and_delivers(fleet: Delegating) -> None:
    second = fleet.started("delegated")

    eventually("it says so", lambda: "fleet.not_served" in second.container.logs())
    eventually("both are told of", lambda: fleet.status_of("email")["workers"] == 2)
    fleet.fleet.container.kill("SIGSTOP")
    try:
        fleet.until(fleet.delegate("email"), "succeeded", within=20)
    finally:
        fleet.fleet.container.kill("SIGCONT")
        second.container.stop()


def test_whoever_asked_is_told_of_the_end_signed_and_once(fleet: Delegating) -> None:
    hook = f"{fleet.feature.url}/hooks/mail"
    job_id = fleet.delegate("email", {"n": 1}, callback=hook)
    fleet.until(job_id, "succeeded")

    def heard() -> list[Received]:
        return [one for one in fleet.feature.of("POST") if one.path == "/hooks/mail"]

    eventually("it was told", heard)
    (told,) = heard()
    assert told.told == {"jobId": job_id, "queueName": "email", "state": "succeeded", "result": None}
    assert verify(told.headers, told.body, parsed_keys(KEYS), now=time.time(), max_age_s=60) == told.key


def test_keys_are_rotated_while_jobs_flow(fleet: Delegating) -> None:
    old, new, known = KEYS, "whsec_" + "C" * 32, [KEYS]
    file = fleet.folder / "mail-keys"

    def sign_with(*keys: str) -> None:
        file.with_suffix(".new").write_text(" ".join(keys))
        file.with_suffix(".new").replace(file)

    def check(peer: Peer, received: Received) -> None:
        try:
            verify(received.headers, received.body, parsed_keys(known), now=time.time(), max_age_s=60)
        except Refused:
            answer(401)(peer, received)
        else:
            succeed()(peer, received)

    def is_signed() -> bool:
        fleet.until(fleet.delegate("email"), "succeeded")
        return "webhook-signature" in fleet.feature.of("POST")[-1].headers

    sign_with(old)
    fleet.register(["email"], keys=f'{{ file = "{file}" }}')
    eventually("the worker signs", is_signed)
    fleet.feature.otherwise["POST"] = check

    def let_the_service_know() -> None:
        known[:] = [new]

    for change in (lambda: sign_with(new, old), let_the_service_know, lambda: sign_with(new)):
        jobs = [fleet.delegate("email") for _ in range(3)]
        change()
        jobs += [fleet.delegate("email") for _ in range(3)]
        assert {fleet.until(job_id, "succeeded")["attempt"] for job_id in jobs} == {0}
    assert len(fleet.feature.of("POST")[-1].headers["webhook-signature"].split()) == 1


def test_connections_do_not_grow_with_the_number_of_queues(fleet: Delegating) -> None:
    fleet.until(fleet.delegate("email"), "succeeded")
    before = connections(fleet.fleet, fleet.ledger)
    many = ["email", *(f"queue-{number}" for number in range(60))]
    fleet.register(many)
    eventually("all are consumed", lambda: fleet.consumed() == {*many, "callbacks"})

    for job_id in [fleet.delegate(queue) for queue in many]:
        fleet.until(job_id, "succeeded", within=30)

    after = connections(fleet.fleet, fleet.ledger)
    # Deliveries side by side have a connection each to the service, up to their concurrency; nothing else is more.
    assert after["sockets"] <= before["sockets"] + 12
    assert after["ledger"] <= before["ledger"] + 12
