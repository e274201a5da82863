"""Which runs ask before they post: those that have a doubt to clear up, all of them, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celadon import drain, replay
from celadon.delegation import circuits, lookups
from celadon.errors import Unresolved
from celadon.ledger import claims
from celadon.ledger.db import at, begin
from celadon.ledger.fleet import look
from celadon.ledger.places import LATE
from celadon.ledger.tables import circuits as table
from celadon.states import State
from tests.contract.given import a_claim, change, claim_as_of_now
from tests.servers import FeatureServer
from tests.servers.feature import Behaviour, Peer, Received, answer, cut, fail, state, succeed
from tests.servers.process import free_port
from tests.unit.celadon.delegation.conftest import Register
from tests.unit.celadon.delegation.test_delivering import DELIVER, an_email, due_in_s, found, its_worker_dies, kept, run

pytestmark = pytest.mark.usefixtures("ledger")


def asked(feature: FeatureServer) -> str:
    """What the service has got, in its order."""
    return " ".join(received.method for received in feature.received)


def made(feature: FeatureServer) -> list[int]:
    return [post.told["attemptsMade"] for post in feature.of("POST")]


def forget_the_circuit() -> None:
    with begin() as connection:
        connection.execute(table.delete())
    circuits.forget()


def no_address(host: str) -> tuple[str, ...]:
    raise Unresolved(f"{host!r} has no address", host=host)


# --- no doubt ---------------------------------------------------------------------------------------------------------

SETTLED: dict[str, Behaviour] = {
    "it failed": fail("no ink"),
    "it says so with another status": answer(500, {"success": False, "error": "no ink"}),
    "too many": answer(429, {}),
    "not now": answer(503, {}, "Retry-After: 1"),
}


@pytest.mark.parametrize("how", SETTLED)
def test_what_the_service_has_answered_for_is_posted_again_without_a_question(
    how: str, feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts, feature.otherwise["GET"] = [SETTLED[how], SETTLED[how], succeed()], answer(500, {})
    job_id = an_email()

    assert [run(job_id).state for _ in range(3)] == [State.SCHEDULED, State.SCHEDULED, State.SUCCEEDED]

    assert asked(feature) == "POST POST POST"
    assert made(feature) == ([0, 0, 0] if how == "not now" else [0, 1, 2])


UNCONNECTED: dict[str, Callable[[str], tuple[str, ...]]] = {
    "nobody listens": lambda _: ("127.0.0.1",),
    "its address is not allowed": lambda _: ("169.254.169.254",),
    "its name has no address": no_address,
}


@pytest.mark.parametrize("why", UNCONNECTED)
def test_a_job_whose_service_can_not_be_connected_to_burns_its_tries_and_is_dead(
    why: str, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "shared", lookups.Lookups(UNCONNECTED[why]))
    register(f"http://mail.test:{free_port()}", backoff='"fixed"')
    job_id = an_email()

    assert run(job_id).state == State.SCHEDULED
    assert due_in_s(job_id) == pytest.approx(90, abs=3)
    forget_the_circuit()
    assert [run(job_id).state, run(job_id).state] == [State.SCHEDULED, State.DEAD]

    assert found(job_id).attempt == 3


def test_who_was_not_let_through_has_nothing_to_ask(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    job_id = a_claim(name=DELIVER, queue="email", payload={"data": 1}, max_attempts=3).job_id
    claims.give_back_late(claim_as_of_now(job_id), f"{LATE} after the claim, 2.000 s ago")

    assert run(job_id).state == State.SUCCEEDED

    assert asked(feature) == "POST"


# --- its time is over -------------------------------------------------------------------------------------------------


def test_what_was_put_off_until_its_time_was_over_is_not_delivered_any_more(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts = [answer(503, {}, "Retry-After: 1")]
    job_id = an_email(expires_in_s=3600)
    run(job_id)
    change(job_id, expires_at=at(-1))

    assert run(job_id).state == State.CANCELLED

    assert (asked(feature), (found(job_id).error or {})["kind"]) == ("POST", "expired")
    assert found(job_id).delivery is None


@pytest.mark.parametrize("behaviour", [fail("no ink"), cut], ids=["has failed", "is in doubt"])
def test_what_the_service_has_begun_does_not_expire(
    behaviour: Behaviour, feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts, feature.asks = [behaviour], [answer(503, {}, "Retry-After: 1")]
    job_id = an_email(expires_in_s=3600)
    run(job_id)
    change(job_id, expires_at=at(-1))

    assert run(job_id).state == State.SUCCEEDED


# --- doubt ------------------------------------------------------------------------------------------------------------

OPEN: dict[str, Behaviour] = {
    "a gateway was impatient": answer(504, body=b"Gateway Time-out"),
    "a gateway was cut off": answer(502, body=b"Bad Gateway"),
    "nobody can read it": answer(200, body=b"OK"),
}


@pytest.mark.parametrize("how", OPEN)
def test_an_answer_that_leaves_open_what_was_done_is_asked_about_before_the_next_post(
    how: str, feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts, feature.asks = [OPEN[how]], [state("done", success=True, result="done", attemptsMade=0)]
    job_id = an_email()

    assert [run(job_id).state, run(job_id).state] == [State.SCHEDULED, State.SUCCEEDED]

    assert (asked(feature), found(job_id).result) == ("POST GET", "done")


def test_a_run_that_left_no_word_is_asked_about_though_an_earlier_one_was_answered_for(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts, feature.asks = [fail("no ink")], [state("done", success=True, attemptsMade=1)]
    job_id = an_email()
    run(job_id)
    change(job_id, state=State.QUEUED)
    its_worker_dies(job_id)

    assert run(job_id).state == State.SUCCEEDED

    assert asked(feature) == "POST GET"


def test_a_doubt_outlives_runs_that_come_to_nothing_and_is_posted_again_as_the_same_try(
    feature: FeatureServer, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(feature.url)
    later = answer(503, {}, "Retry-After: 1")
    feature.posts, feature.asks = [cut, succeed()], [later, later, state("unknown")]
    job_id = an_email()

    assert [run(job_id).state for _ in range(3)] == [State.SCHEDULED, State.SCHEDULED, State.SUCCEEDED]

    assert (asked(feature), made(feature)) == ("POST GET GET GET POST", [0, 0])


def test_in_doubt_a_service_that_is_away_is_waited_for(feature: FeatureServer, register: Register) -> None:
    register(feature.url)

    def vanish(peer: Peer, received: Received) -> None:
        feature.stop()
        cut(peer, received)

    feature.posts = [vanish]
    job_id = an_email()
    for _ in range(4):
        assert run(job_id).state == State.SCHEDULED

    assert (found(job_id).attempt, kept(job_id).in_doubt) == (0, True)


def test_a_run_that_was_stopped_in_doubt_is_asked_about(feature: FeatureServer, register: Register) -> None:
    register(feature.url)

    def stop(peer: Peer, received: Received) -> None:
        drain.begin()
        cut(peer, received)

    feature.posts, feature.asks = [stop], [state("done", success=True)]
    job_id = an_email()
    assert run(job_id).state == State.QUEUED
    drain.reset()

    assert run(job_id).state == State.SUCCEEDED

    assert asked(feature) == "POST GET"


# --- large results ----------------------------------------------------------------------------------------------------


def test_a_result_that_the_post_had_room_for_is_heard_when_asked_for(
    feature: FeatureServer, register: Register
) -> None:
    result = "x" * 960
    register(feature.url, max_answer_bytes="1000")
    feature.posts = [cut]
    feature.asks = [state("done", success=True, result=result, attemptsMade=0)]
    job_id = an_email()

    assert run(job_id).state == State.SUCCEEDED

    assert found(job_id).result == result


def test_one_that_is_too_large_is_not_fetched_by_another_post_nor_after_a_replay(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url, max_answer_bytes="1000")
    large = state("done", success=True, result="x" * 9000, attemptsMade=0)
    feature.posts, feature.otherwise["GET"] = [cut], large
    job_id = an_email()
    assert run(job_id).state == State.DEAD
    assert "raise max_answer_bytes" in ((found(job_id).error or {})["message"] or "")

    register(feature.url, max_answer_bytes="10000")
    replay(job_id)

    assert run(job_id).state == State.SUCCEEDED
    assert asked(feature) == "POST GET GET"


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_after_a_doubt_the_post_is_kept_and_not_the_question(feature: FeatureServer, register: Register) -> None:
    register(feature.url)
    feature.posts, feature.otherwise["GET"] = [cut], answer(500, body=b"no such page")
    job_id = an_email("hello")

    for _ in range(3):
        run(job_id)
        request = kept(job_id).request
        assert request is not None
        assert (request.method, '"data":"hello"' in (request.body or "")) == ("POST", True)

    assert (found(job_id).state, "no such page" in kept(job_id).verdict) == (State.DEAD, True)


def test_the_last_error_of_a_queue_is_told_also_of_what_is_put_off_and_forgotten_with_a_success(
    feature: FeatureServer, register: Register
) -> None:
    register(feature.url)
    feature.posts = [answer(503, {}, "Retry-After: 1")]
    job_id = an_email()

    def told() -> str | None:
        error = look(["email"], "delegated", DELIVER).errors.get("email")
        return error.message if error else None

    run(job_id)
    assert "answered 503" in (told() or "")
    assert run(job_id).state == State.SUCCEEDED
    assert (told(), found(job_id).delivery) == (None, None)
