from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from services.mail import MailDelayed, SmtpMailer
from services.orders.errors import OrderNotFound, OutOfStock
from services.orders.flags import Flags, key
from services.orders.model import Product
from services.orders.view import OrderView, load
from services.orders.workflow import process
from tests.servers import MailSink, RedisServer
from tests.unit.services.conftest import Place
from tests.unit.services.steps import MemorySteps, StepsFailed

Begin = sessionmaker[Session]


class Shop:
    """Everything the workflow needs, the real things where there are any."""

    def __init__(self, begin: Begin, sink: MailSink, redis: Any) -> None:
        self.begin, self.sink, self.redis = begin, sink, redis
        self.steps = MemorySteps(begin)

    def work(self, order_id: str) -> dict[str, Any]:
        mailer = SmtpMailer(self.sink.url, "Celadon <shop@example.org>")
        return process(order_id, steps=self.steps, read=self.begin, mailer=mailer, flags=Flags(self.redis))

    def order(self, order_id: str) -> OrderView:
        with self.begin() as session:
            return load(session, order_id)


@pytest.fixture
def shop(begin: Begin, mail_sink: MailSink, redis_server: RedisServer):
    with redis_server.client() as client:
        yield Shop(begin, mail_sink, client)


def test_an_order_goes_through_all_its_steps(shop: Shop, placed: Place) -> None:
    order = placed(BOWL_TEA=2)

    results = shop.work(order.id)

    view = shop.order(order.id)
    assert view.status == "complete"
    assert list(results) == ["inventory", "email", "invoice"]
    assert [m["Message-ID"] for m in shop.sink.messages] == [results["email"]["message_id"]]
    assert view.invoice_sha256 == results["invoice"]["sha256"]
    written = shop.redis.hgetall(key(order.id))
    assert {k: v for k, v in written.items() if k.endswith("_at")} == {
        k: v for k, v in view.flags().items() if k.endswith("_at")
    }


def test_working_through_an_order_again_repeats_nothing(shop: Shop, placed: Place) -> None:
    order = placed(BOWL_TEA=2)
    first = shop.work(order.id)
    shop.redis.delete(key(order.id))

    again = shop.work(order.id)

    assert again == first
    assert len(shop.sink.messages) == 1
    with shop.begin() as session:
        assert session.get_one(Product, "BOWL-TEA").stock == 238
    assert shop.redis.hget(key(order.id), "invoice_generated") == "1"


def test_short_stock_stops_neither_mail_nor_invoice(shop: Shop, placed: Place) -> None:
    order = placed(JAR_MOON=4)

    with pytest.raises(StepsFailed, match="JAR-MOON is short: 4 wanted, 3 left"):
        shop.work(order.id)

    assert isinstance(shop.steps.errors["inventory"], OutOfStock)
    assert set(shop.order(order.id).raised) == {"email_sent", "invoice_generated"}
    assert shop.redis.hget(key(order.id), "inventory_processed") == "0"


def test_a_retry_does_only_what_failed_before(shop: Shop, placed: Place) -> None:
    # Given an order whose mail was greylisted
    order = placed()
    shop.sink.answers = ["451 come back"]
    with pytest.raises(StepsFailed):
        shop.work(order.id)
    assert isinstance(shop.steps.errors["email"], MailDelayed)
    done = dict(shop.steps.results)
    # When it is tried again
    shop.work(order.id)
    # Then the others kept what they had, and the mail is out
    assert {name: shop.steps.results[name] for name in done} == done
    assert shop.order(order.id).status == "complete"
    assert len(shop.sink.messages) == 1


def test_a_dead_redis_fails_no_step(begin: Begin, mail_sink: MailSink, own_redis: RedisServer, placed: Place) -> None:
    order = placed()
    with own_redis.client() as client:
        own_redis.kill()
        shop = Shop(begin, mail_sink, client)

        shop.work(order.id)

    assert shop.order(order.id).status == "complete"


def test_an_unknown_order_is_named(shop: Shop) -> None:
    with pytest.raises(OrderNotFound, match="There is no order nowhere"):
        shop.work("nowhere")
