"""Many jobs at once and the broker: told over one connection, and none of them lost when it is not there."""

from __future__ import annotations

import pytest

from celadon import Submitted, broker
from celadon.bulk import Submission, submit_many
from celadon.errors import Refused
from celadon.ledger import switches
from celadon.redis import get_redis
from celadon.states import State
from tests.contract.given import row
from tests.contract.pointed import pointed
from tests.servers import RedisServer

pytestmark = pytest.mark.usefixtures("ledger")


def some(count: int, name: str = "unit.inline") -> list[Submission]:
    return [Submission(name=name, payload={"word": "x"}) for _ in range(count)]


def outcomes(submissions: list[Submission]) -> set[object]:
    return {getattr(result, "outcome", type(result)) for result in submit_many(submissions)}


def test_the_broker_is_told_of_each_in_batches(broker_of_its_own: RedisServer):
    assert outcomes(some(broker.BATCH + 10)) == {Submitted.QUEUED}

    assert get_redis().llen("default") == broker.BATCH + 10


def test_with_the_broker_gone_all_are_deferred_and_those_that_refuse_are_refused(broker_of_its_own: RedisServer):
    broker_of_its_own.stop()

    told = submit_many([*some(20), *some(2, "unit.refused")])

    assert [getattr(result, "outcome", type(result)) for result in told] == [Submitted.DEFERRED] * 20 + [Refused] * 2
    assert broker.circuit.open
    assert {row(result.job_id).state for result in told[:20]} == {State.QUEUED}  # type: ignore[union-attr]


def test_a_broker_that_hangs_costs_one_bounded_wait_for_all(broker_of_its_own: RedisServer):
    submit_many(some(1))
    broker_of_its_own.freeze()
    try:
        assert outcomes(some(50)) == {Submitted.DEFERRED}
    finally:
        broker_of_its_own.thaw()


def test_a_queue_off_the_broker_is_not_told_and_the_rest_is(broker_of_its_own: RedisServer):
    switches.turn("queue", "data_sync", use_broker=False)
    with pointed(broker_url=broker_of_its_own.url):  # What is known of the switches is forgotten.
        told = submit_many([*some(2), Submission(name="unit.deferred", payload={})])

    assert [result.outcome for result in told] == [Submitted.QUEUED] * 2 + [Submitted.DEFERRED]  # type: ignore[union-attr]
    assert (get_redis().llen("default"), get_redis().llen("data_sync")) == (2, 0)
