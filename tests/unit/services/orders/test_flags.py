from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from services.orders.flags import Flags, key
from services.orders.model import get_order
from services.orders.view import load
from tests.servers import RedisServer
from tests.unit.services.conftest import Place

Begin = sessionmaker[Session]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALL_DOWN = {"inventory_processed": "0", "email_sent": "0", "invoice_generated": "0"}


@pytest.fixture
def client(redis_server: RedisServer):
    with redis_server.client() as client:
        yield client


def test_a_raised_flag_is_written_beside_those_that_are_down(client) -> None:
    order_id = str(uuid4())

    Flags(client).raised(order_id, {"email_sent": "2026-11-22T12:00:00.000Z"})

    up = {"email_sent": "1", "email_sent_at": "2026-11-22T12:00:00.000Z"}
    assert client.hgetall(key(order_id)) == {**ALL_DOWN, **up}
    assert 0 < client.ttl(key(order_id)) <= timedelta(days=7).total_seconds()


def test_a_late_writer_takes_no_flag_back(client) -> None:
    order_id, flags = str(uuid4()), Flags(client)
    flags.raised(order_id, {"email_sent": "2026-11-22T12:00:00.000Z"})

    flags.raised(order_id, {"inventory_processed": "2026-11-22T11:00:00.000Z"})

    found = client.hgetall(key(order_id))
    assert (found["email_sent"], found["inventory_processed"], found["invoice_generated"]) == ("1", "1", "0")


@pytest.mark.parametrize("harm", ["missing", "stale"])
def test_a_hash_that_lacks_something_is_mended_from_sql(begin: Begin, placed: Place, client, harm: str) -> None:
    # Given an order whose mail is sent, and a hash that does not say so
    order, flags = placed(), Flags(client)
    if harm == "stale":
        flags.raised(order.id, {})
    with begin.begin() as session:
        get_order(session, order.id).raise_flag("email_sent", NOON)
    # When somebody reads the order
    with begin() as session:
        flags.mend(load(session, order.id))
    # Then it does
    up = {"email_sent": "1", "email_sent_at": "2026-11-22T12:00:00.000Z"}
    assert client.hgetall(key(order.id)) == {**ALL_DOWN, **up}


def test_all_recent_hashes_come_back_after_a_wipe(begin: Begin, placed: Place, client) -> None:
    orders = [placed() for _ in range(3)]
    with begin.begin() as session:
        get_order(session, orders[0].id).raise_flag("invoice_generated", NOON)
        get_order(session, orders[2].id).created_at = datetime.now(UTC) - timedelta(days=8)

    counts = Flags(client).reconcile(begin)

    assert counts == {"checked": 2, "missing": 2, "wrong": 0}
    assert client.hget(key(orders[0].id), "invoice_generated") == "1"
    assert client.hgetall(key(orders[1].id)) == ALL_DOWN
    assert client.hgetall(key(orders[2].id)) == {}


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param({"email_sent": "0"}, id="a flag is down"),
        pytest.param({"email_sent_at": "2020-01-01T00:00:00.000Z"}, id="a time is another"),
        pytest.param(
            {"invoice_generated": "1", "invoice_generated_at": "x"}, id="a flag is up that SQL knows nothing of"
        ),
    ],
)
def test_what_redis_says_otherwise_than_sql_is_mended(begin: Begin, placed: Place, client, harm) -> None:
    # Given two orders whose flags are as in SQL
    orders, flags = [placed(), placed()], Flags(client)
    for order in orders:
        with begin.begin() as session:
            get_order(session, order.id).raise_flag("email_sent", NOON)
        flags.raised(order.id, {"email_sent": "2026-11-22T12:00:00.000Z"})
    right = client.hgetall(key(orders[0].id))
    assert flags.reconcile(begin) == {"checked": 2, "missing": 0, "wrong": 0}
    # When one of them says something else
    client.hset(key(orders[0].id), mapping=harm)
    counts = flags.reconcile(begin)
    # Then that one is found and says what SQL does
    assert counts == {"checked": 2, "missing": 0, "wrong": 1}
    assert [client.hgetall(key(order.id)) for order in orders] == [right, right]


def test_a_flag_that_is_raised_while_flags_are_compared_stays_up(begin: Begin, placed: Place, client) -> None:
    # Given a flag that is up in Redis alone
    order, flags = placed(), Flags(client)
    flags.raised(order.id, {"email_sent": "2020-01-01T00:00:00.000Z"})

    class Late(Flags):
        def _put(self, orders) -> None:  # SQL was asked, and now a worker is done with the step.
            super()._put(orders)
            super()._put({order.id: {"email_sent": "2026-11-22T12:00:00.000Z"}})

    # When it is raised in earnest between the look and the mending
    Late(client).reconcile(begin)
    # Then nobody puts it down
    assert client.hget(key(order.id), "email_sent") == "1"


def test_a_comparison_that_cannot_look_says_so(begin: Begin, placed: Place) -> None:
    placed()
    with pytest.raises(redis.ConnectionError):
        Flags(redis.Redis(port=1, retry=Retry(NoBackoff(), 0))).reconcile(begin)


def test_without_redis_nothing_fails_and_one_line_says_so(begin: Begin, placed: Place) -> None:
    away = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    order = placed()
    with begin() as session:
        view = load(session, order.id)

    with capture_logs() as lines:
        Flags(away).raised(order.id, {"email_sent": "2026-11-22T12:00:00.000Z"})
        Flags(away).mend(view)

    assert [line["event"] for line in lines] == ["order_flags_not_written", "order_flags_not_read"]
    assert lines[0]["orders"] == [order.id]
