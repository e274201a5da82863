"""Who is told when a job has ended: stored with it, turned into a job of its own at its end, once for each end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, select

from celadon.jobs import NewJob
from celadon.ledger import callbacks, claims, retention
from celadon.ledger.db import at, reading
from celadon.ledger.operating import cancel, replay
from celadon.ledger.tables import callbacks as table
from celadon.ledger.tables import jobs
from celadon.states import State
from tests.contract.given import FAILURE, ON_POSTGRESQL, a_claim, a_job, change, count, new_job, race, row

pytestmark = pytest.mark.usefixtures("ledger")

TELL = "contract.tell"
HOOK = "https://shop.example.org/hook"


def telling(ended: Any) -> NewJob:
    return new_job(TELL, state=State.SCHEDULED, delay_s=0.0, payload={"of": ended.id, "state": ended.state})


def turn(*, lately: bool = True) -> int:
    return callbacks.turn_ended(telling, lately=lately)


def told() -> Sequence[Row[Any]]:
    with reading() as connection:
        return connection.execute(select(jobs).where(jobs.c.name == TELL).order_by(jobs.c.id)).all()


def end(job_id: str, how: State) -> str:
    if how == State.CANCELLED:
        cancel(job_id)
    elif how == State.DEAD:
        claims.fail(a_claim(job_id), FAILURE, retry_in_s=None, alert_after=3)
    else:
        claims.finish(a_claim(job_id), {"mails": 1})
    return job_id


@pytest.mark.parametrize("how", [State.SUCCEEDED, State.DEAD, State.CANCELLED])
def test_each_end_is_told_once(how):
    job_id = end(a_job(callback=HOOK), how)

    turn()
    turn(lately=False)

    assert [one.payload for one in told()] == [{"of": job_id, "state": how}]


def test_what_has_not_ended_and_what_nobody_asked_about_is_not_told():
    a_job(callback=HOOK)
    end(a_job(), State.SUCCEEDED)

    assert turn() == turn(lately=False) == 0
    assert told() == []


def test_a_job_that_ended_long_ago_is_found_by_a_look_at_everything():
    change(end(a_job(callback=HOOK), State.SUCCEEDED), finished_at=at(-3600))

    assert (turn(), turn(lately=False)) == (0, 1)


def test_a_replayed_job_is_told_of_again_at_its_next_end():
    job_id = end(a_job(callback=HOOK), State.DEAD)
    turn()
    replay(job_id)
    change(job_id, state=State.QUEUED)
    end(job_id, State.SUCCEEDED)

    turn()

    assert [one.payload["state"] for one in told()] == ["dead", "succeeded"]


def test_a_job_stays_until_its_end_was_told():
    job_id = end(a_job(callback=HOOK), State.SUCCEEDED)
    everything = {"keep": 0, "keep_for": timedelta(0)}

    assert retention.prune(row(job_id).name, **everything) == 0
    turn()
    assert retention.prune(row(job_id).name, **everything) == 1
    assert count(table) == 0


def test_what_makes_the_job_may_fail_and_nothing_is_lost():
    end(a_job(callback=HOOK), State.SUCCEEDED)

    def broken(_: Any) -> NewJob:
        raise ValueError("no such declaration")

    with pytest.raises(ValueError, match="no such declaration"):
        callbacks.turn_ended(broken, lately=True)
    assert turn() == 1
    assert len(told()) == 1


@ON_POSTGRESQL
def test_several_schedulers_tell_each_end_once():
    for _ in range(10):
        end(a_job(callback=HOOK), State.SUCCEEDED)

    race(4, lambda _: turn())
    turn()

    assert len(told()) == 10
