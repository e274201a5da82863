"""Lists of jobs: what fits, newest first, page by page, and never by reading the whole table."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.errors import InvalidOption
from celadon.ledger import claims
from celadon.ledger.listing import list_jobs
from celadon.ledger.looking import find
from celadon.states import State
from tests.contract.given import FAILURE, a_claim, a_job, a_job_that_is, change, row

pytestmark = pytest.mark.usefixtures("ledger")

NOW = datetime.now(UTC)


def ids(**filters: Any) -> list[str]:
    return [job.id for job in list_jobs(**filters).jobs]


def walk(**filters: Any) -> Iterator[list[str]]:
    """The ids of each page."""
    after = None
    while True:
        page = list_jobs(after=after, **filters)
        yield [job.id for job in page.jobs]
        after = page.next
        if after is None:
            return


def test_the_newest_come_first():
    made = [a_job() for _ in range(5)]

    assert ids() == made[::-1]


def test_a_job_is_told_in_one_line():
    claim = a_claim(tenant="acme", priority=3)
    claims.fail(claim, FAILURE, retry_in_s=None, alert_after=3)

    (job,) = list_jobs().jobs

    whole = find(claim.job_id)
    assert whole is not None
    told = job.as_dict()
    assert told == {name: value for name, value in whole.as_dict().items() if name in told}
    assert told["error"] == {"kind": "ValueError", "message": "no", "fingerprint": "f" * 16}
    assert not {"payload", "result", "attempts"} & set(told)


@pytest.mark.parametrize("state", State)
def test_each_state_can_be_asked_for(state):
    made = {one: a_job_that_is(one) for one in State}

    assert ids(states=[state]) == [made[state]]
    assert sorted(ids(states=[state, State.DEAD])) == sorted({made[state], made[State.DEAD]})


def test_all_filters_hold_at_once():
    mine = a_job("a.b", queue="data_sync", tenant="acme")
    for facts in ({"queue": "default"}, {"tenant": "other"}, {"tenant": None}):
        a_job("a.b", **{"queue": "data_sync", "tenant": "acme", **facts})
    a_job("a.c", queue="data_sync", tenant="acme")

    assert ids(name="a.b", queue="data_sync", tenant="acme") == [mine]
    assert len(ids(name="a.b")) == 4
    assert len(ids(queue="data_sync")) == 4
    assert len(ids(tenant="acme")) == 3
    assert ids(name="a.b", states=["running"]) == []


def test_failures_of_one_cause_are_found_by_their_fingerprint():
    dead = a_job_that_is(State.DEAD)
    a_job_that_is(State.SUCCEEDED)

    assert ids(error=FAILURE.fingerprint) == [dead]
    assert ids(error="0" * 16) == []


def test_times_part_the_jobs_into_before_and_from_then_on():
    made = [a_job() for _ in range(3)]
    for number, job_id in enumerate(made):
        change(job_id, created_at=NOW - timedelta(hours=3 - number))
    noon = row(made[1]).created_at

    assert ids(created_after=noon) == [made[2], made[1]]
    assert ids(created_before=noon) == [made[0]]
    assert ids(created_after=noon, created_before=noon) == []


def cursor(created_at: str) -> str:
    """What a client might make up."""
    return base64.urlsafe_b64encode(json.dumps([created_at, "x"]).encode()).decode()


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"states": ["ended"]}, "state='ended': one of scheduled, waiting"),
        ({"limit": 0}, "limit=0: 1 to 200"),
        ({"limit": 201}, "limit=201: 1 to 200"),
        ({"name": "a\x00"}, "name='a.x00': 1 to 200 characters, none of them NUL"),
        ({"tenant": ""}, "tenant=''"),
        ({"queue": "q" * 201}, "queue='q+': 1 to 200"),
        ({"created_after": datetime(2030, 1, 1)}, "created_after=2030-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
        ({"after": ""}, "after='' is no cursor"),
        ({"after": "soon"}, "after='soon' is no cursor; give the `next` of a page"),
        ({"after": "W10"}, "is no cursor"),
        ({"after": "WyIyMDMwLTAxLTAxIiwgIngiXQ"}, "is no cursor"),  # A time without a zone.
        ({"after": cursor("0001-01-01T00:00:00+23:59")}, "is no cursor"),  # In UTC there are no such times.
        ({"after": cursor("9999-12-31T23:59:59-23:59")}, "is no cursor"),
        ({"after": "ü"}, "is no cursor"),
        ({"after": "[" * 100_000}, "is no cursor"),
    ],
)
def test_what_can_not_be_meant_is_refused(filters, told):
    with pytest.raises(InvalidOption, match=told):
        list_jobs(**filters)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_together_hold_each_job_once(limit):
    made = [a_job() for _ in range(7)]

    pages = list(walk(limit=limit))

    assert list(itertools.chain(*pages)) == made[::-1]
    assert {len(page) for page in pages[:-1]} <= {limit}


def test_jobs_of_one_moment_are_not_lost_between_pages():
    made = sorted(a_job() for _ in range(5))
    for job_id in made:
        change(job_id, created_at=NOW)

    assert list(walk(limit=2)) == [[made[4], made[3]], [made[2], made[1]], [made[0]]]


def test_jobs_submitted_meanwhile_shift_nothing():
    made = [a_job() for _ in range(4)]
    seen = []
    for page in walk(limit=2):
        seen += page
        a_job()

    assert seen == made[::-1]


def test_an_adopted_job_stands_at_its_time_whatever_its_id():
    first = a_job()
    adopted = a_job(id="zz-another-application's")
    last = a_job()
    for number, job_id in enumerate([first, adopted, last]):
        change(job_id, created_at=NOW + timedelta(seconds=number))

    assert ids() == [last, adopted, first]
    assert list(walk(limit=1)) == [[last], [adopted], [first]]
