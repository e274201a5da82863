"""What failed deliveries sent and got: kept by job, without secrets, as long as the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from celadon import find
from celadon.jobs import AnswerView, Claim, DeliveryView, RequestView
from celadon.ledger import claims, deliveries, retention
from celadon.ledger.deliveries import BODY_MOST, MASKED, Earlier, cut, earlier, masked
from celadon.ledger.operating import replay
from celadon.ledger.places import LATE
from celadon.ledger.recovery import reap
from celadon.ledger.tables import deliveries as table
from celadon.states import Outcome, State
from tests.contract.given import FAILURE, NAME, a_claim, change, claim_as_of_now, count, let_its_lease_run_out

pytestmark = pytest.mark.usefixtures("ledger")

REQUEST = RequestView(method="POST", url="http://mail:80/internal/process-job", headers={"Accept": "*/*"}, body="{}")
ANSWER = AnswerView(status=500, headers={"Server": "x"}, body="oh no")


def keep(claim: Claim, answer: AnswerView | None = ANSWER, **facts: Any) -> bool:
    told: dict[str, Any] = {"verdict": "it answered 500", "seconds": 0.5, "request": REQUEST, **facts}
    return deliveries.keep(claim, answer=answer, **told)


def kept(job_id: str) -> DeliveryView | None:
    view = find(job_id)
    assert view is not None
    return view.delivery


def test_a_delivery_is_found_as_it_was_kept() -> None:
    claim = a_claim()
    assert kept(claim.job_id) is None

    assert keep(claim)

    found = kept(claim.job_id)
    assert found is not None
    assert (found.verdict, found.seconds, found.request, found.answer) == ("it answered 500", 0.5, REQUEST, ANSWER)


def test_the_last_one_of_a_job_is_kept() -> None:
    claim = a_claim()
    keep(claim)

    assert keep(claim, None, verdict="connection refused")

    found = kept(claim.job_id)
    assert found is not None
    assert (found.verdict, found.answer, count(table)) == ("connection refused", None, 1)


def test_a_run_that_has_lost_its_claim_keeps_nothing() -> None:
    claim = a_claim()
    claims.give_back(claim)

    assert not keep(claim)

    assert kept(claim.job_id) is None


def test_they_go_with_their_job() -> None:
    claim = a_claim()
    keep(claim)
    claims.finish(claim, None)

    assert retention.prune(NAME, keep=0, keep_for=timedelta(days=1)) == 1

    assert count(table) == 0


def test_what_the_database_could_not_hold_is_left_out() -> None:
    claim = a_claim()

    assert keep(claim, verdict="a\x00b\ud800" + "x" * 5000)

    found = kept(claim.job_id)
    assert found is not None
    assert len(found.verdict) == 2000
    assert "\x00" not in found.verdict


def test_tries_that_failed_are_counted_those_before_a_replay_too() -> None:
    claim = a_claim()
    claims.give_back(claim)
    assert earlier(a_claim(claim.job_id)).tries == 0
    claims.fail(claim_as_of_now(claim.job_id), FAILURE, retry_in_s=None, alert_after=9)
    replay(claim.job_id)
    change(claim.job_id, state=State.QUEUED)
    claims.fail(a_claim(claim.job_id), FAILURE, retry_in_s=0, alert_after=9, outcome=Outcome.TIMED_OUT)
    change(claim.job_id, state=State.QUEUED)

    assert earlier(a_claim(claim.job_id)).tries == 2


def test_a_first_run_has_none_before_it() -> None:
    assert earlier(a_claim()) == Earlier()


@pytest.mark.parametrize("in_doubt", [True, False])
def test_a_run_that_kept_its_end_says_itself_whether_it_is_in_doubt(in_doubt: bool) -> None:
    claim = a_claim()
    keep(claim, in_doubt=in_doubt)
    claims.give_back(claim)

    assert earlier(a_claim(claim.job_id)) == Earlier(in_doubt=in_doubt, kept=True)


def test_in_doubt_is_what_the_last_run_left_no_word_of() -> None:
    claim = a_claim()
    keep(claim)
    claims.give_back(claim)
    let_its_lease_run_out(a_claim(claim.job_id).job_id)
    reap()

    assert earlier(a_claim(claim.job_id, exclusive=True)) == Earlier(in_doubt=True, kept=True)


def test_a_run_that_came_too_late_to_begin_leaves_no_doubt_and_clears_none_up() -> None:
    claim = a_claim()
    claims.give_back_late(claim, f"{LATE} after the claim, 2.000 s ago")
    second = a_claim(claim.job_id)
    assert not earlier(second).in_doubt
    claims.give_back(second)
    claims.give_back_late(a_claim(claim.job_id), f"{LATE} after the claim, 2.000 s ago")

    assert earlier(a_claim(claim.job_id)).in_doubt


def test_a_run_that_sent_nothing_leaves_what_was_sent_before_and_a_question_too() -> None:
    claim = a_claim()
    keep(claim)
    deliveries.keep(claim, verdict="held back", in_doubt=True)
    keep(claim, None, verdict="not answered", request=replace(REQUEST, method="GET"))

    found = kept(claim.job_id)
    assert found is not None
    assert (found.verdict, found.request, found.answer) == ("not answered", REQUEST, ANSWER)


def test_nothing_may_have_been_sent_at_all() -> None:
    claim = a_claim()
    deliveries.keep(claim, verdict="held back")

    found = kept(claim.job_id)
    assert found is not None
    assert (found.verdict, found.request, found.answer) == ("held back", None, None)


def test_what_is_kept_is_forgotten_by_who_has_the_claim() -> None:
    claim = a_claim()
    keep(claim)
    deliveries.forget(replace(claim, epoch=9))
    assert kept(claim.job_id) is not None

    deliveries.forget(claim)

    assert kept(claim.job_id) is None


def test_what_opens_doors_is_masked() -> None:
    names = [
        *("Authorization", "webhook-signature", "Set-Cookie", "Cookie", "X-Api-Key", "x-auth-token", "X-Secret"),
        *("PASSWORD", "X-Internal-Key", "X-Auth", "X-Auth-Key", "X-Access-Key", "X-Credential", "X-Session", "X-Jwt"),
        *("X-Team-Pass", "X-Sign", "Proxy-Authorization", "X-Apikey"),
    ]

    assert masked(dict.fromkeys(names, "s3cret")) == dict.fromkeys(names, MASKED)


def test_what_does_not_is_shown() -> None:
    told = {
        "Idempotency-Key": "0190",
        "webhook-id": "0190",
        "Content-Type": "application/json",
        "traceparent": "00-1",
        "WWW-Authenticate": 'Bearer error="invalid_token"',
        "X-Team": "mail",
    }
    assert masked(told) == told


def test_what_an_entry_adds_is_masked_whatever_its_name_is() -> None:
    assert masked({"X-Team": "mail", "Accept": "*/*"}, also={"x-team"}) == {"X-Team": MASKED, "Accept": "*/*"}


def test_headers_and_bodies_are_kept_as_far_as_they_are_read() -> None:
    assert len(masked({f"X-{n}": "x" * 9000 for n in range(200)})) == 50
    assert max(map(len, masked({"X-Long": "x" * 9000}).values())) == 500
    assert cut(b"{}") == "{}"
    assert cut(b"\xff\x00") == "\ufffd\ufffd"
    assert cut(b"x" * 100_000) == "x" * BODY_MOST + "… (100000 bytes)"


def test_a_frozen_run_that_wakes_up_late_changes_nothing_of_a_later_one() -> None:
    stale = a_claim()
    let_its_lease_run_out(stale.job_id)
    reap()
    later = a_claim(stale.job_id, exclusive=True)
    keep(later, verdict="the later one")

    assert not keep(stale, verdict="the stale one")

    found = kept(stale.job_id)
    assert found is not None
    assert found.verdict == "the later one"
