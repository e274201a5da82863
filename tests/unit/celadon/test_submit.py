"""Submitting: what is refused before anything is written, and what the receipt says of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import pytest

from celadon import Steps, Submitted, drain, find, inline, submit
from celadon.errors import (
    InvalidOption,
    InvalidPayload,
    LedgerUnavailable,
    PayloadTooLarge,
    Refused,
    UnknownJob,
    UnknownQueue,
)
from celadon.ledger import claims, limits, presence, switches
from celadon.ledger.moving import queued_ids
from celadon.ledger.presence import Worker
from celadon.ledger.tables import jobs, keys
from celadon.limits import Limit
from celadon.pickup import announce
from celadon.states import State
from tests.contract.given import a_claim, a_job, count, row
from tests.contract.pointed import pointed
from tests.eventually import eventually
from tests.servers import RedisServer
from tests.servers.process import free_port
from tests.unit.celadon.jobs import RAN, SCRIPT

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    RAN.clear()
    yield
    drain.reset()


@pytest.fixture
def with_broker(ledger: str, redis_server: RedisServer) -> Iterator[RedisServer]:
    """The broker is there, and nobody works its queues."""
    redis_server.wipe()
    with pointed(ledger_url=ledger, use_broker="true", broker_url=redis_server.url, redis_url=None, confirm_ms=100):
        yield redis_server


def a_worker(concurrency: int = 5) -> None:
    presence.appear(
        Worker(
            id="w",
            host="h",
            pid=1,
            lane="default",
            queues=("default",),
            tasks=("unit.inline",),
            concurrency=concurrency,
        )
    )


@pytest.mark.parametrize(
    ("name", "payload", "options", "error", "told"),
    [
        ("unit.inlin", {}, {}, UnknownJob, "did you mean 'unit.inline'"),
        ("unit.inline", {}, {}, InvalidPayload, "word: Field required"),
        ("unit.inline", {"word": "x" * 300_000}, {}, PayloadTooLarge, "at most 262144 are allowed"),
        ("unit.deferred", {}, {"queue": "nope"}, UnknownQueue, "there are: data_sync"),
        ("unit.deferred", {}, {"delay": -1}, InvalidOption, "delay=-1"),
        ("unit.deferred", {}, {"delay": timedelta(days=4000)}, InvalidOption, "to ten years"),
        ("unit.deferred", {}, {"expires_in": -0.1}, InvalidOption, "expires_in=-0.1"),
        ("unit.deferred", {}, {"run_at": datetime(2030, 1, 1)}, InvalidOption, "has no time zone"),  # noqa: DTZ001
        ("unit.deferred", {}, {"run_at": datetime.now(UTC), "delay": 1}, InvalidOption, "give one"),
        ("unit.deferred", {}, {"key": ""}, InvalidOption, "key='' has 0 characters"),
        ("unit.deferred", {}, {"key": "k" * 201}, InvalidOption, "key='k{40}' has 201 characters"),
        ("unit.deferred", {}, {"tenant": ""}, InvalidOption, "tenant='' has 0 characters"),
        ("unit.deferred", {}, {"key": "a\x00b"}, InvalidOption, "none of them NUL"),
        ("unit.deferred", {}, {"tenant": "a\udc80b"}, InvalidOption, "tenant="),
        ("unit.deferred", {}, {"priority": 10}, InvalidOption, "priority=10: -9 to 9"),
    ],
)
def test_what_can_not_be_meant_is_refused_and_nothing_is_written(name, payload, options, error, told):
    with pytest.raises(error, match=told):
        submit(name, payload, **options)

    assert (count(jobs), count(keys)) == (0, 0)


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ({}, "default"),
        ({"delay": 0}, "default"),
        ({"delay": 5}, "scheduled"),
        ({"run_at": datetime.now(UTC) + timedelta(hours=1)}, "scheduled"),
        ({"run_at": datetime.now(UTC) - timedelta(hours=1), "queue": "data_sync"}, "data_sync"),
        ({"delay": timedelta(minutes=1), "queue": "data_sync"}, "data_sync"),
    ],
)
def test_what_is_due_later_goes_to_the_scheduled_queue_unless_told_otherwise(options, queue):
    receipt = submit("unit.routed", {}, **options)

    assert row(receipt.job_id).queue == queue


def test_a_delayed_job_is_scheduled_and_the_receipt_says_where():
    receipt = submit("unit.routed", {}, delay=60)

    assert receipt.as_dict() == {
        "job_id": receipt.job_id,
        "outcome": "scheduled",
        "by": None,
        "after_ms": None,
        "reason": "due later, on queue 'scheduled'",
    }


def test_a_used_key_gives_the_first_receipts_job():
    first = submit("unit.deferred", {}, key="k")
    again = submit("unit.deferred", {}, key="k")

    assert (again.outcome, again.job_id) == (Submitted.DUPLICATE, first.job_id)
    assert "which is queued" in (again.reason or "")


def test_a_paused_job_waits():
    switches.pause("queue", "data_sync")

    assert submit("unit.deferred", {}).outcome == Submitted.WAITING


def test_with_the_broker_switched_off_each_policy_falls_back_in_its_own_way():
    ran, left = submit("unit.inline", {"word": "here"}), submit("unit.deferred", {})
    with pytest.raises(Refused, match="'unit.refused' was refused: the broker is switched off") as refused:
        submit("unit.refused", {}, key="k")

    assert (ran.outcome, RAN) == (Submitted.INLINE, ["here"])
    assert ran.by is not None
    assert ran.by.startswith("inline@")
    assert left.outcome == Submitted.DEFERRED
    assert row(left.job_id).state == State.QUEUED
    # A refused job is over, and its key may be used again.
    assert row(refused.value.job_id).state == State.CANCELLED
    assert count(keys) == 0


def test_an_inline_run_that_fails_says_so_and_will_be_tried_again():
    SCRIPT.append(lambda steps: 1 / 0)

    receipt = submit("unit.scripted", {})

    assert receipt.outcome == Submitted.INLINE
    assert "the run failed: division by zero" in (receipt.reason or "")
    assert row(receipt.job_id).state == State.SCHEDULED


def interrupted(steps: Steps) -> None:
    drain.begin()
    steps.check()


def without_the_ledger(steps: Steps) -> None:
    raise LedgerUnavailable("for a moment")


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (lambda steps: steps.sleep("nap", 3600), State.SCHEDULED),
        (interrupted, State.QUEUED),
        (without_the_ledger, State.SCHEDULED),
    ],
    ids=["asleep", "interrupted", "without the ledger"],
)
def test_an_inline_run_that_could_not_be_finished_here_is_deferred(script, state):
    SCRIPT.append(script)

    receipt = submit("unit.scripted", {})

    assert (receipt.outcome, row(receipt.job_id).state) == (Submitted.DEFERRED, state)
    assert "begun inline" in (receipt.reason or "")
    assert "failed" not in (receipt.reason or "")
    assert row(receipt.job_id).attempt == 0


def test_no_more_inline_runs_than_allowed_are_under_way_in_one_process(ledger):
    inside, go_on = Event(), Event()

    def slow(steps: Steps) -> None:
        inside.set()
        go_on.wait(10)

    SCRIPT.append(slow)
    with pointed(ledger_url=ledger, use_broker="false", inline_concurrency=1):
        first = Thread(target=submit, args=("unit.scripted", {}))
        first.start()
        inside.wait(10)

        second = submit("unit.inline", {"word": "x"})
        go_on.set()
        first.join(10)

        assert second.outcome == Submitted.DEFERRED
        assert "as many inline runs as allowed" in (second.reason or "")
        eventually("the slot is free again", lambda: submit("unit.inline", {"word": "y"}).outcome == Submitted.INLINE)


def test_with_no_inline_runs_allowed_everything_is_deferred(ledger):
    with pointed(ledger_url=ledger, use_broker="false", inline_concurrency=0):
        assert submit("unit.inline", {"word": "x"}).outcome == Submitted.DEFERRED
    assert inline.run_inline("nobody", "default") is not None


def test_a_message_carries_the_id_and_nothing_of_the_payload(with_broker):
    receipt = submit("unit.deferred", {"word": "a secret"})

    assert receipt.outcome == Submitted.QUEUED
    with with_broker.client() as client:
        (message,) = client.lrange("data_sync", 0, -1)
    assert receipt.job_id in message
    assert "secret" not in message


@pytest.mark.parametrize(("kind", "name"), [("queue", "data_sync"), ("job", "unit.deferred")])
def test_what_an_operator_took_off_the_broker_falls_back_without_asking_it(with_broker, kind, name):
    switches.turn(kind, name, use_broker=False)

    receipt = submit("unit.deferred", {})

    assert (receipt.outcome, receipt.reason) == (Submitted.DEFERRED, "an operator took it off the broker")
    with with_broker.client() as client:
        assert client.llen("data_sync") == 0


def test_confirmed_and_nobody_there_falls_back(with_broker):
    receipt = submit("unit.inline", {"word": "here"}, confirm=True)

    assert (receipt.outcome, RAN) == (Submitted.INLINE, ["here"])
    assert receipt.reason == "no live worker consumes its queue"


def test_confirmed_behind_a_deep_backlog_stays_queued_and_says_how_deep(with_broker):
    a_worker(concurrency=2)
    for _ in range(5):
        a_job()

    receipt = submit("unit.inline", {"word": "x"}, confirm=True)

    assert (receipt.outcome, RAN) == (Submitted.QUEUED, [])
    assert receipt.reason == "behind 3 or more jobs"


def test_confirmed_and_not_picked_up_in_time_falls_back(with_broker):
    a_worker()

    receipt = submit("unit.inline", {"word": "here"}, confirm=True)

    assert (receipt.outcome, RAN) == (Submitted.INLINE, ["here"])
    assert receipt.reason == "no worker picked it up within 100 ms"


def picked_up_by(worker: str, *, heard: bool) -> Thread:
    """A worker that claims the next job as soon as it is stored, and says so or not."""

    def pick_up() -> None:
        job_id: Any = eventually("the job is stored", lambda: next(iter(queued()), None), within=5)
        a_claim(job_id, worker=worker)
        if heard:
            announce(job_id, worker)

    thread = Thread(target=pick_up)
    thread.start()
    return thread


def queued() -> list[str]:
    return queued_ids(["default"], ["unit.inline"], 1)


def test_confirmed_and_picked_up_says_by_whom_with_the_rendezvous_away(ledger, redis_server):
    a_worker()
    away = f"redis://127.0.0.1:{free_port()}/0"
    redis_server.wipe()
    with pointed(ledger_url=ledger, use_broker="true", broker_url=redis_server.url, redis_url=away, confirm_ms=500):
        worker = picked_up_by("host:boot:7", heard=True)

        # The worker gets its time, and the row is looked at: falling back at once would run it here.
        receipt = submit("unit.inline", {"word": "x"}, confirm=True)
        worker.join(10)

    assert (receipt.outcome, receipt.by, RAN) == (Submitted.PICKED_UP, "host:boot:7", [])


def test_confirmed_and_over_before_anybody_heard_of_it_is_picked_up_too(with_broker):
    a_worker()

    def quick() -> None:
        job_id: Any = eventually("the job is stored", lambda: next(iter(queued()), None), within=5)
        claims.finish(a_claim(job_id, worker="host:boot:7"), "done")

    worker = Thread(target=quick)
    worker.start()
    with pointed(confirm_ms=500):
        receipt = submit("unit.inline", {"word": "x"}, confirm=True)
        worker.join(10)

    assert (receipt.outcome, receipt.by, RAN) == (Submitted.PICKED_UP, "host:boot:7", [])


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "not heard, but the row says so"])
def test_confirmed_and_picked_up_says_by_whom(with_broker, heard):
    a_worker()
    with pointed(confirm_ms=2000 if heard else 300):
        worker = picked_up_by("host:boot:7", heard=heard)

        receipt = submit("unit.inline", {"word": "x"}, confirm=True)
        worker.join(10)

    assert (receipt.outcome, receipt.by, RAN) == (Submitted.PICKED_UP, "host:boot:7", [])
    assert receipt.after_ms is not None
    assert 0 < receipt.after_ms < 2000


def test_a_view_is_ready_for_json_and_keeps_the_payload_to_itself():
    view = find(submit("unit.inline", {"word": "a secret"}).job_id)

    assert view is not None
    plain = view.as_dict()
    assert (plain["state"], plain["attempts"][0]["outcome"]) == ("succeeded", "succeeded")
    assert plain["created_at"].endswith("Z")
    assert "payload" not in plain
    assert "secret" not in repr({**plain, "result": None}) + repr(view).replace(repr(view.result), "")


def test_a_limited_job_that_has_room_is_sent_at_once_and_so_are_those_before_it(with_broker: RedisServer):
    limits.set_limits("job", "unit.deferred", [Limit(concurrency=2)], actor="test")
    before = a_job("unit.deferred", queue="data_sync")
    assert row(before).state == State.WAITING

    receipt = submit("unit.deferred", {})

    assert (receipt.outcome, row(receipt.job_id).sends, row(before).sends) == (Submitted.QUEUED, 1, 1)
    with with_broker.client() as client:
        assert client.llen("data_sync") == 2
    waits = submit("unit.deferred", {})
    assert (waits.outcome, waits.reason) == (
        Submitted.WAITING,
        "it waits for its turn: job 'unit.deferred' is limited to 2 at a time",
    )


def test_what_was_released_beside_a_submission_and_could_not_be_sent_stays_with_the_sender(ledger: str):
    limits.set_limits("job", "unit.deferred", [Limit(concurrency=2)], actor="test")
    before = a_job("unit.deferred", queue="data_sync")
    with pointed(ledger_url=ledger, use_broker="true", broker_url=f"redis://127.0.0.1:{free_port()}/0", redis_url=None):
        receipt = submit("unit.deferred", {})

    assert receipt.outcome == Submitted.DEFERRED
    assert (row(before).state, row(before).sends) == (State.QUEUED, 0)
