"""A feature by its answers: what is refused with which status, and what a handler's end makes of a job."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celadon_feature import Answer, Delivery, Feature, NotShared, Permanent, SqliteStore, StoreUnavailable, new_key
from celadon_feature.feature import MAX_BODY_BYTES, PATH
from celadon_feature.stores import Run
from celadon_feature.testing import delivery, signed
from celadon_feature.work import Work
from tests.eventually import eventually

KEY = new_key()


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "deliveries.db")


@pytest.fixture
def feature(store: SqliteStore) -> Feature:
    return Feature(keys=KEY, store=store)


class Asked:
    """A feature as the platform sees it."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature

    def deliver(self, queue: str = "email", data: Any = None, job_id: str = "job-1", attempts: int = 0) -> Answer:
        headers, body = delivery(queue, data, keys=KEY, job_id=job_id, attempts_made=attempts)
        return self.feature.handle("POST", PATH, headers, body)

    def ask(self, job_id: str = "job-1") -> dict[str, Any]:
        answer = self.feature.handle("GET", f"{PATH}/{job_id}", signed(job_id, keys=KEY), b"")
        assert answer.status == 200, answer
        return told(answer)


@pytest.fixture
def asked(feature: Feature) -> Asked:
    return Asked(feature)


def told(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(answer.body)
    return made


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


# --- what a handler's end makes of the job ----------------------------------------------------------------------------


def test_a_handler_gets_its_delivery_and_its_result_is_the_answer(feature: Feature, asked: Asked) -> None:
    got: list[Delivery] = []

    @feature.handler("email")
    def send(delivery: Delivery) -> dict[str, str]:
        got.append(delivery)
        return {"sent_to": delivery.data["to"]}

    headers, body = delivery("email", {"to": "ada"}, keys=KEY, job_id="job-1", attempts_made=2)
    answer = feature.handle("POST", PATH, {**headers, "Traceparent": "00-ab-cd-01"}, body)

    assert (answer.status, told(answer)) == (200, {"success": True, "result": {"sent_to": "ada"}})
    whole = Delivery(job_id="job-1", queue="email", data={"to": "ada"}, attempts_made=2, traceparent="00-ab-cd-01")
    assert got == [whole]
    assert feature.queues == ("email",)


def test_a_success_is_final_and_every_repeat_is_given_its_answer(feature: Feature, asked: Asked) -> None:
    ran: list[int] = []

    @feature.handler("email")
    def send(delivery: Delivery) -> int:
        ran.append(delivery.attempts_made)
        return len(ran)

    first, again, higher, lower = (asked.deliver(attempts=attempts) for attempts in (1, 1, 2, 0))

    assert ran == [1]
    assert [answer.body for answer in (again, higher, lower)] == [first.body] * 3
    assert [replayed(answer) for answer in (first, again, higher, lower)] == [False, True, True, True]
    assert asked.ask() == {"state": "done", "success": True, "result": 1, "attemptsMade": 1}


def test_a_failure_is_kept_for_its_try_and_a_higher_one_runs_again(feature: Feature, asked: Asked) -> None:
    ran: list[int] = []

    @feature.handler("email")
    def send(delivery: Delivery) -> str:
        ran.append(delivery.attempts_made)
        if delivery.attempts_made < 2:
            raise ConnectionError(f"no {delivery.attempts_made}")
        return "sent"

    first, again, second, late, third = (asked.deliver(attempts=attempts) for attempts in (0, 0, 1, 0, 2))

    assert ran == [0, 1, 2]
    assert told(first) == told(again) == {"success": False, "error": "ConnectionError: no 0"}
    assert told(second) == told(late) == {"success": False, "error": "ConnectionError: no 1"}
    assert [replayed(answer) for answer in (first, again, second, late, third)] == [False, True, False, True, False]
    assert asked.ask() == {"state": "done", "success": True, "result": "sent", "attemptsMade": 2}


class UnknownAddress(Exception):
    pass


@pytest.mark.parametrize("error", [Permanent("no such address"), UnknownAddress("no such address")])
def test_what_no_other_try_can_help_is_said_so(feature: Feature, asked: Asked, error: Exception) -> None:
    @feature.handler("email", permanent=(UnknownAddress,))
    def send(delivery: Delivery) -> None:
        raise error

    expected = {"success": False, "error": f"{type(error).__name__}: no such address", "permanent": True}
    assert told(asked.deliver()) == expected
    assert asked.ask() == {"state": "done", **expected, "attemptsMade": 0}


def test_a_traceback_is_for_the_log_and_not_for_the_answer(
    feature: Feature, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    @feature.handler("email")
    def send(delivery: Delivery) -> None:
        raise ValueError("x" * 5000)

    answer = asked.deliver(data="the secret of a customer")

    assert len(told(answer)["error"]) == 2000
    assert b"Traceback" not in answer.body
    assert "in send" in caplog.text
    assert "the secret" not in caplog.text


@pytest.mark.parametrize(
    ("result", "why"),
    [(object(), "no JSON"), (float("nan"), "no JSON"), ("x" * 300_000, "more than 262144 bytes")],
    ids=["no JSON", "NaN", "too large"],
)
def test_a_result_that_can_not_be_told_is_not_worked_for_again(
    feature: Feature, asked: Asked, result: object, why: str
) -> None:
    @feature.handler("email")
    def send(delivery: Delivery) -> object:
        return result

    answer = told(asked.deliver())
    assert (answer["success"], answer["permanent"]) == (False, True)
    assert why in answer["error"]


def test_what_is_kept_of_a_result_can_be_asked_for_within_the_limit(store: SqliteStore) -> None:
    feature = Feature(keys=KEY, store=store, max_result_bytes=200)
    asked, sizes = Asked(feature), list[int]()
    feature.handler("email")(lambda delivery: "x" * delivery.data)

    for size in range(130, 150):
        job_id = f"job-{size}"
        if told(asked.deliver(data=size, job_id=job_id, attempts=7))["success"]:
            state = feature.handle("GET", f"{PATH}/{job_id}", signed(job_id, keys=KEY), b"")
            sizes.append(len(state.body))

    assert max(sizes) == 200


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class Shifting(dict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("another thread has changed it")


@pytest.mark.parametrize(
    ("ends", "why"),
    [(Speechless(), "Speechless"), (Shifting(a="b"), "RuntimeError: another thread has changed it")],
    ids=["an exception without words", "a result that raises"],
)
def test_whatever_a_handlers_end_raises_is_told_and_the_job_has_ended(
    feature: Feature, asked: Asked, ends: Exception | dict[str, str], why: str
) -> None:
    @feature.handler("email")
    def send(delivery: Delivery) -> object:
        if isinstance(ends, Exception):
            raise ends
        return ends

    answer = told(asked.deliver())
    assert not answer["success"]
    assert why in answer["error"]
    assert asked.ask()["state"] == "done"


def test_a_coroutine_runs_also_where_there_is_no_event_loop(feature: Feature, asked: Asked) -> None:
    @feature.handler("email")
    async def send(delivery: Delivery) -> str:
        await asyncio.sleep(0)
        return "sent"

    assert told(asked.deliver()) == {"success": True, "result": "sent"}


def test_a_process_that_ends_under_its_handler_leaves_an_interrupted_job(feature: Feature, asked: Asked) -> None:
    @feature.handler("email")
    def send(delivery: Delivery) -> str:
        if delivery.data == "stop":
            raise SystemExit
        return "sent"

    with pytest.raises(SystemExit):
        asked.deliver(data="stop")

    assert asked.ask() == {"state": "interrupted", "attemptsMade": 0}
    assert told(asked.deliver(data="go on")) == {"success": True, "result": "sent"}


# --- two at once ------------------------------------------------------------------------------------------------------


def test_a_second_delivery_meanwhile_is_told_so_and_the_state_is_running(feature: Feature, asked: Asked) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @feature.handler("email")
    def send(delivery: Delivery) -> str:
        begun.set()
        assert go_on.wait(10)
        return "sent"

    answers: list[Answer] = []
    first = threading.Thread(target=lambda: answers.append(asked.deliver()))
    first.start()
    assert begun.wait(10)
    second, state = asked.deliver(attempts=1), asked.ask()
    go_on.set()
    first.join()

    assert (second.status, state) == (409, {"state": "running", "attemptsMade": 0})
    assert "another delivery" in told(second)["error"].lower()
    assert told(answers[0]) == {"success": True, "result": "sent"}


def test_a_run_is_renewed_while_its_handler_runs(store: SqliteStore) -> None:
    feature = Feature(keys=KEY, store=store, expires_s=0.3)
    asked, renewals = Asked(feature), 0
    renew = store.renew

    def counted(run: Run, expires_s: float) -> bool:
        nonlocal renewals
        renewals += 1
        return renew(run, expires_s)

    store.renew = counted  # type: ignore[method-assign]

    @feature.handler("email")
    def send(delivery: Delivery) -> str:
        # Five renewals in thirds of the expiry: longer than it would have stood by itself.
        eventually("it is renewed", lambda: renewals >= 5)
        return str(asked.ask()["state"])

    assert told(asked.deliver()) == {"success": True, "result": "running"}


@pytest.mark.parametrize("ended", [True, False], ids=["which has ended", "which is at work"])
def test_a_run_that_lost_its_place_answers_as_the_other(feature: Feature, store: SqliteStore, ended: bool) -> None:
    asked = Asked(feature)

    @feature.handler("email")
    def send(delivery: Delivery) -> str:
        # This process stood still for long: its run has expired, and another replica has begun the job.
        with store._lock:
            assert store._connection is not None
            store._connection.execute("UPDATE celadon_feature_runs SET expires_at = 0")
        other = Run(job_id="job-1", attempts_made=0, token="other")
        assert store.begin(other, 60) is None
        if ended:
            assert store.finish(other, success=True, answer='{"success":true,"result":"by the other"}')
        return "by this one"

    answer = asked.deliver()
    if ended:
        assert (told(answer)["result"], replayed(answer)) == ("by the other", True)
    else:
        assert answer.status == 409


def waited(store: SqliteStore, feature: Feature) -> Work:
    """A job that was begun, and then waited for a thread for longer than its run stands."""
    headers, body = delivery("email", None, keys=KEY, job_id="job-1")
    work = feature.open("POST", PATH, headers, body)
    assert isinstance(work, Work)
    eventually("it has expired", lambda: store.look("job-1").state == "interrupted")
    return work


def test_work_that_another_has_begun_while_it_waited_for_a_thread_is_not_done(store: SqliteStore) -> None:
    feature = Feature(keys=KEY, store=store, expires_s=0.05)
    feature.handler("email")(lambda delivery: pytest.fail("it ran"))
    work, other = waited(store, feature), Run(job_id="job-1", attempts_made=0, token="other")

    assert store.begin(other, 60) is None
    assert work.do().status == 409
    assert store.finish(other, success=True, answer='{"success":true,"result":"by the other"}')
    answer = work.do()
    assert (told(answer)["result"], replayed(answer)) == ("by the other", True)


def test_work_that_waited_and_is_still_its_own_is_done(store: SqliteStore) -> None:
    feature = Feature(keys=KEY, store=store, expires_s=0.3)
    asked = Asked(feature)
    feature.handler("email")(lambda delivery: asked.ask()["state"])

    assert told(waited(store, feature).do()) == {"success": True, "result": "running"}


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_nobody_who_has_not_signed_gets_work_done_or_an_answer_known(feature: Feature) -> None:
    feature.handler("email")(lambda delivery: pytest.fail("it ran"))
    headers, body = delivery("email", None, keys=new_key(), job_id="job-1")

    posted = feature.handle("POST", PATH, headers, body)
    asked = feature.handle("GET", f"{PATH}/job-1", {}, b"")
    other = feature.handle("GET", f"{PATH}/job-1", signed("job-2", keys=KEY), b"")

    assert [answer.status for answer in (posted, asked, other)] == [401, 401, 401]
    assert told(asked)["error"].startswith("Not signed: the headers webhook-id, ")
    assert "another job" in told(other)["error"]


def test_an_old_delivery_is_refused_and_the_age_can_be_set(store: SqliteStore) -> None:
    now = [1000.0]
    feature = Feature(keys=KEY, store=store, max_age_s=5, clock=lambda: now[0])
    feature.handler("email")(lambda delivery: "sent")
    headers, body = delivery("email", None, keys=KEY, at=1000)

    now[0] = 1005.0
    assert feature.handle("POST", PATH, headers, body).status == 401
    now[0] = 1004.0
    assert feature.handle("POST", PATH, headers, body).status == 200


GOOD = {"jobId": "job-1", "queueName": "email", "data": None, "attemptsMade": 0}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "no JSON"),
        ('"\ud800"'.encode("utf-8", "surrogatepass"), "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"jobId": NaN}', "NaN is no JSON"),
        ("[]", "no JSON object"),
        ({"jobId": "job-1", "data": 1}, "attemptsMade, queueName: missing"),
        ({**GOOD, "jobId": 7}, "jobId: 7 is no id"),
        ({**GOOD, "jobId": "../job"}, "jobId: '../job' is no id"),
        ({**GOOD, "jobId": "x" * 129}, "jobId"),
        ({**GOOD, "queueName": ""}, "queueName: '' is no name"),
        ({**GOOD, "attemptsMade": -1}, "attemptsMade: -1"),
        ({**GOOD, "attemptsMade": True}, "attemptsMade: True"),
        ({**GOOD, "attemptsMade": 10**12}, "attemptsMade"),
        ({**GOOD, "jobId": None, "queueName": None}, "jobId: None is no id; 1 to 128 letters, digits, '-' and '_'"),
        ({**GOOD, "jobId": "job-2"}, "webhook-id is not the jobId"),
    ],
)
def test_a_malformed_body_is_refused_with_what_is_wrong(feature: Feature, body: object, why: str) -> None:
    feature.handler("email")(lambda delivery: pytest.fail("it ran"))
    sent = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

    answer = feature.handle("POST", PATH, signed("job-1", sent, keys=KEY), sent)

    assert answer.status == 400
    assert why in told(answer)["error"]
    assert told(answer)["success"] is False


def test_what_the_platform_adds_later_does_not_disturb(feature: Feature) -> None:
    feature.handler("email")(lambda delivery: "sent")
    body = json.dumps({**GOOD, "priority": 3}).encode()
    assert feature.handle("POST", PATH, signed("job-1", body, keys=KEY), body).status == 200


def test_a_queue_without_a_handler_is_refused_and_those_with_one_are_named(feature: Feature, asked: Asked) -> None:
    feature.handler("sms")(lambda delivery: None)
    answer = asked.deliver(queue="email")
    assert answer.status == 404
    assert told(answer)["error"] == "No handler for queue 'email'; this service does sms"
    assert asked.ask() == {"state": "unknown"}


def test_a_body_that_is_too_large_is_refused(feature: Feature, asked: Asked) -> None:
    feature.handler("email")(lambda delivery: None)
    answer = asked.deliver(data="x" * MAX_BODY_BYTES)
    assert answer.status == 413
    assert "1048576 bytes" in told(answer)["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("POST", f"{PATH}/job-1", 405),
        ("POST", "/internal", 404),
        ("GET", f"{PATH}/a/b", 404),
        ("GET", f"{PATH}/", 404),
        ("GET", f"{PATH}/..", 404),
    ],
)
def test_other_doors_are_closed(feature: Feature, method: str, path: str, status: int) -> None:
    answer = feature.handle(method, path, signed("job-1", keys=KEY), b"")
    assert answer.status == status
    assert ("Allow" in answer.headers) is (status == 405)


# --- a store that is away ---------------------------------------------------------------------------------------------


class Away(SqliteStore):
    """A store whose named calls fail, so many times."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fails = {"begin": 0, "finish": 0, "renew": 0}

    def _or_fail(self, what: str, call: Callable[[], Any]) -> Any:
        if self.fails[what]:
            self.fails[what] -= 1
            raise StoreUnavailable(f"{what}: away")
        return call()

    def begin(self, run: Run, expires_s: float) -> Any:
        return self._or_fail("begin", lambda: super(Away, self).begin(run, expires_s))

    def finish(self, run: Run, *, success: bool, answer: str) -> Any:
        return self._or_fail("finish", lambda: super(Away, self).finish(run, success=success, answer=answer))

    def renew(self, run: Run, expires_s: float) -> Any:
        return self._or_fail("renew", lambda: super(Away, self).renew(run, expires_s))


@pytest.fixture
def away(tmp_path: Path) -> Away:
    return Away(tmp_path / "away.db")


def test_a_store_that_is_away_before_the_work_is_no_failed_try(away: Away) -> None:
    feature = Feature(keys=KEY, store=away)
    feature.handler("email")(lambda delivery: "sent")
    away.fails["begin"] = 1

    first, second = Asked(feature).deliver(), Asked(feature).deliver()

    assert (first.status, first.headers["Retry-After"]) == (503, "5")
    assert told(second) == {"success": True, "result": "sent"}


def test_a_store_that_is_away_when_waiting_work_is_to_be_done_is_no_failed_try(away: Away) -> None:
    feature = Feature(keys=KEY, store=away, expires_s=0.05)
    feature.handler("email")(lambda delivery: "sent")
    work = waited(away, feature)
    away.fails["renew"] = 1

    assert work.do().status == 503
    assert told(Asked(feature).deliver()) == {"success": True, "result": "sent"}


def test_a_store_that_comes_back_is_told_the_answer(away: Away) -> None:
    feature = Feature(keys=KEY, store=away)
    feature.handler("email")(lambda delivery: "sent")
    away.fails["finish"] = 2

    assert told(Asked(feature).deliver()) == {"success": True, "result": "sent"}
    assert Asked(feature).ask()["state"] == "done"


def test_work_that_is_done_is_answered_so_even_if_the_store_stays_away(
    away: Away, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("celadon_feature.work.INSIST_S", 0.0)
    feature = Feature(keys=KEY, store=away)
    feature.handler("email")(lambda delivery: "sent")
    away.fails["finish"] = 100

    assert told(Asked(feature).deliver()) == {"success": True, "result": "sent"}
    assert "could not be kept" in caplog.text
    assert Asked(feature).ask()["state"] == "running"  # Until it expires.


def test_a_renewal_that_fails_is_tried_again(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    feature = Feature(keys=KEY, store=away, expires_s=0.3)
    away.fails["renew"] = 1
    feature.handler("email")(lambda delivery: eventually("renewed", lambda: away.fails["renew"] == 0) and "sent")

    assert told(Asked(feature).deliver()) == {"success": True, "result": "sent"}
    assert "could not be renewed" in caplog.text


# --- declaring --------------------------------------------------------------------------------------------------------


def test_what_can_not_be_meant_is_refused_at_once(store: SqliteStore) -> None:
    for wrong, why in [
        ({"keys": None}, "give a signing key"),
        ({"keys": KEY, "unsigned": True}, "give one of them"),
        ({"keys": "secret"}, "does not begin with whsec_"),
        ({"keys": KEY, "path": "jobs/"}, "path='jobs/': a plain path is meant"),
        ({"keys": KEY, "path": "/a?b"}, "path='/a.b': a plain path is meant"),
        ({"keys": KEY, "expires_s": 0}, "expires_s=0: a finite number above 0"),
        ({"keys": KEY, "expires_s": math.nan}, "expires_s=nan"),
        ({"keys": KEY, "max_age_s": math.inf}, "max_age_s=inf"),
        ({"keys": KEY, "max_body_bytes": -1}, "max_body_bytes=-1"),
        ({"keys": KEY, "max_result_bytes": 0}, "max_result_bytes=0"),
    ]:
        with pytest.raises(ValueError, match=why):
            Feature(store=store, **wrong)  # type: ignore[arg-type]


def test_a_queue_has_one_handler_that_takes_one_argument(feature: Feature) -> None:
    feature.handler("email")(lambda delivery: None)
    with pytest.raises(ValueError, match="'email' has a handler already"):
        feature.handler("email")(lambda delivery: None)
    with pytest.raises(ValueError, match="one argument"):
        feature.handler("sms")(lambda: None)  # type: ignore[type-var]


def test_an_unsigned_feature_is_one_for_development(store: SqliteStore) -> None:
    feature = Feature(keys=None, unsigned=True, store=store)
    feature.handler("email")(lambda delivery: "sent")
    body = json.dumps(GOOD).encode()
    assert told(feature.handle("POST", PATH, {}, body)) == {"success": True, "result": "sent"}
    assert told(feature.handle("GET", f"{PATH}/job-1", {}, b""))["state"] == "done"


def test_a_store_in_memory_is_warned_of_and_a_file_is_not(tmp_path: Path) -> None:
    with pytest.warns(NotShared, match="no other replica") as warned:
        SqliteStore(":memory:")
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SqliteStore(tmp_path / "store.db")


def test_answers_that_were_kept_long_enough_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celadon_feature.feature.FORGET_EVERY_S", -1.0)
    store = SqliteStore(tmp_path / "store.db", keep_s=0)
    feature = Feature(keys=KEY, store=store)
    feature.handler("email")(lambda delivery: "sent")

    Asked(feature).deliver(job_id="first")
    Asked(feature).deliver(job_id="second")

    assert Asked(feature).ask("first") == {"state": "unknown"}


def test_a_fork_in_the_midst_of_work_takes_no_open_file_along(feature: Feature, store: SqliteStore) -> None:
    @feature.handler("email")
    def send(delivery: Delivery) -> str:
        child = os.fork()
        if not child:
            os._exit(0 if store.look("job-1").state == "running" else 1)
        return f"exit {os.waitpid(child, 0)[1]}"

    assert told(Asked(feature).deliver()) == {"success": True, "result": "exit 0"}


def test_two_threads_that_fork_at_once_both_go_on_and_so_do_their_children(store: SqliteStore) -> None:
    assert store.look("job-1").state == "unknown"
    statuses: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            signal.alarm(5)  # Instead of waiting for ever.
            os._exit(0 if store.look("job-1").state == "unknown" else 1)
        statuses.append(os.waitpid(child, 0)[1])

    def about_to_fork(thread: threading.Thread) -> bool:
        return sys._current_frames()[thread.ident or 0].f_code.co_name == "_before_fork"

    threads = [threading.Thread(target=fork, daemon=True) for _ in range(2)]
    with store._lock:
        for thread in threads:
            thread.start()
        eventually("both are about to fork", lambda: all(map(about_to_fork, threads)))
    for thread in threads:
        thread.join(10)

    assert statuses == [0, 0]
    assert not store._lock.locked()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "celadon_feature")
