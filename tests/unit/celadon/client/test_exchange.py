"""One request with its retries: the rules alone, with a clock that the test moves and no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from celadon.client import ApiError, NotAllowed, Refused, Unavailable, Unreachable, errors, http
from celadon.client.exchange import AGAIN, Policy, exchange, retry_after_s
from celadon.client.flow import Answer, Failure, Pause, Request, Send
from celadon.errors import InvalidOption

GOOD = Answer(200, {}, b"{}")
REFUSED = Failure("ConnectError: refused", in_doubt=False)
LOST = Failure("ReadTimeout", in_doubt=True)


def no(status: int, retry_after: str | None = None, **problem: Any) -> Answer:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Answer(status, headers, json.dumps(problem).encode())


class Course:
    """Plays one exchange: outcomes in turn, the last one for ever. Pauses and time-outs pass on its own clock."""

    def __init__(self, *outcomes: Answer | Failure, give_up_after_s: float = 30.0, **request: Any) -> None:
        self.now = 1000.0
        self.sent: list[float] = []  # The time-out of each try,
        self.waits: list[float | None] = []  # and how long the server is asked to wait besides.
        self.pauses: list[float] = []
        self._outcomes = outcomes
        self._policy = Policy(timeout_s=10, give_up_after_s=give_up_after_s, now=lambda: self.now)
        self._request = Request(method="POST", url="http://x", headers={}, **request)

    def play(self, lasting_s: float = 0.0) -> Answer:
        """lasting_s: how long each try would take if nothing ended it."""
        flow = exchange(self._request, self._policy)
        came: Any = None
        turns: Iterator[Answer | Failure] = iter(self._outcomes)
        while True:
            try:
                step = flow.send(came)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.now += step.seconds
                came = None
            else:
                assert isinstance(step, Send)
                self.sent.append(step.request.timeout_s)
                self.waits.append(step.request.wait_s)
                self.now += min(lasting_s, step.request.timeout_s + (step.request.wait_s or 0))
                came = next(turns, self._outcomes[-1])


def test_a_good_answer_is_taken_at_once():
    course = Course(GOOD)

    assert (course.play(), course.sent, course.pauses) == (GOOD, [10], [])


@pytest.mark.parametrize("outcome", [REFUSED, LOST, no(429), no(502), no(503), no(504)])
def test_what_may_pass_is_tried_again_with_growing_pauses(outcome):
    course = Course(outcome, outcome, outcome, GOOD)

    course.play()

    first, second, third = course.pauses
    assert 0.1 <= first <= 0.2 <= second <= 0.4 <= third <= 0.8


@pytest.mark.parametrize("status", sorted({301, 400, 401, 403, 404, 409, 413, 415, 422, 500, 501} - AGAIN))
def test_what_will_not_pass_is_raised_at_once(status):
    course = Course(no(status), GOOD)

    with pytest.raises(ApiError) as refused:
        course.play()

    assert (refused.value.status, course.pauses) == (status, [])


def test_the_server_is_given_the_time_it_asks_for():
    course = Course(no(503, "7"), no(429, format_datetime(datetime.now(UTC) + timedelta(seconds=9))), GOOD)

    course.play()

    assert 7 <= course.pauses[0] < 8
    assert 7 < course.pauses[1] < 10


def test_a_longer_time_than_there_is_is_not_waited_for():
    course = Course(no(503, "60", type="urn:celadon:problem:ledger-unavailable"), give_up_after_s=30)

    with pytest.raises(Unavailable):
        course.play()

    assert (len(course.sent), course.pauses) == (1, [])


@pytest.mark.parametrize("lasting_s", [0.0, 0.4, 3.0, 60.0])
def test_it_gives_up_within_its_time_and_lets_no_try_outlast_it(lasting_s):
    course = Course(LOST, give_up_after_s=8)

    with pytest.raises(Unreachable, match="No answer: ReadTimeout"):
        course.play(lasting_s)

    assert course.now - 1000 <= 8 + 0.5  # The last try gets at least so long.
    assert len(course.sent) > 2 or lasting_s > 8
    assert all(0.5 <= timeout_s <= 8 for timeout_s in course.sent)
    assert course.sent == sorted(course.sent, reverse=True)


@pytest.mark.parametrize("lasting_s", [0.0, 3.0, 60.0])
def test_what_the_server_is_asked_to_wait_comes_on_top_once_however_many_tries_it_takes(lasting_s):
    course = Course(LOST, give_up_after_s=5, wait_s=25)

    with pytest.raises(Unreachable):
        course.play(lasting_s)

    assert course.now - 1000 <= 25 + 5 + 0.5
    assert course.waits[0] == 25
    assert course.waits == sorted(course.waits, reverse=True)


def test_the_server_is_asked_to_wait_for_what_is_left_of_the_time():
    course = Course(no(503, "2"), no(503, "2"), GOOD, wait_s=5)

    course.play()

    assert course.waits == [5, pytest.approx(3, abs=0.3), pytest.approx(1, abs=0.6)]


def test_pauses_grow_up_to_a_bound_and_are_no_two_the_same():
    course = Course(REFUSED, give_up_after_s=60)

    with pytest.raises(Unreachable):
        course.play()

    assert all(2.5 <= pause_s <= 5 for pause_s in course.pauses[6:])
    assert len(set(course.pauses)) == len(course.pauses) > 8


def test_what_would_do_more_a_second_time_is_not_repeated_once_it_may_have_been_done():
    course = Course(REFUSED, no(429), LOST, GOOD, once=True)

    with pytest.raises(Unreachable) as gave_up:
        course.play()

    assert gave_up.value.in_doubt
    assert len(course.sent) == 3


def test_a_refusal_for_want_of_a_broker_is_final():
    course = Course(no(503, "2", type="urn:celadon:problem:broker-unavailable"), GOOD)

    with pytest.raises(Refused):
        course.play()

    assert course.pauses == []


def test_an_error_after_a_lost_answer_is_in_doubt():
    with pytest.raises(NotAllowed) as refused:
        Course(LOST, no(409)).play()
    assert refused.value.in_doubt

    with pytest.raises(NotAllowed) as refused:
        Course(REFUSED, no(429), no(409)).play()
    assert not refused.value.in_doubt


@pytest.mark.parametrize("outcome", [LOST, no(500), no(502), no(503, type="urn:celadon:problem:ledger-unavailable")])
def test_a_servers_own_trouble_leaves_open_what_it_did(outcome):
    assert errors.of(outcome).in_doubt


@pytest.mark.parametrize(
    ("error", "in_doubt"),
    [
        (httpx.ConnectError, False),
        (httpx.ConnectTimeout, False),
        (httpx.PoolTimeout, False),
        (httpx.ProxyError, False),
        (httpx.ReadTimeout, True),
        (httpx.ReadError, True),
        (httpx.RemoteProtocolError, True),
        (httpx.DecodingError, True),
    ],
)
def test_what_never_left_is_in_no_doubt(error, in_doubt):
    assert issubclass(error, http.TRANSIENT)
    assert http.failure(error("so it is")).in_doubt is in_doubt


@pytest.mark.parametrize("outcome", [REFUSED, no(422), no(503, type="urn:celadon:problem:broker-unavailable")])
def test_a_refusal_does_not(outcome):
    assert not errors.of(outcome).in_doubt


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("12", 12),
        ("-3", 0),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
def test_the_header_is_a_number_or_nothing(value, seconds):
    assert retry_after_s(value) == seconds


def test_a_date_that_is_past_asks_for_no_time():
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("limits", [{"timeout_s": 0}, {"give_up_after_s": -1}, {"timeout_s": float("nan")}])
def test_a_time_that_is_none_is_refused(limits):
    with pytest.raises(InvalidOption, match="must be longer than nothing"):
        Policy(**limits)
