"""What is old is forgotten, and at last removed; what is young, or unfinished, is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from services.orders import invoice, retention
from services.orders.model import FLAGS, Invoice, Order, OrderLine, get_order
from services.orders.view import load
from tests.unit.services.conftest import Place
from tests.unit.services.steps import MemorySteps

Begin = sessionmaker[Session]
YEAR = 365


class Shop:
    def __init__(self, begin: Begin, placed: Place) -> None:
        self.begin, self.placed = begin, placed
        self.told: list[str] = []

    def order(self, *, days: int, complete: bool = True, done_days: int | None = None) -> str:
        """An order placed so many days ago, complete by then or `done_days` ago."""
        order_id: str = self.placed().id
        now = datetime.now(UTC)
        with self.begin.begin() as session:
            order = get_order(session, order_id)
            order.created_at = now - timedelta(days=days)
            if complete:
                invoice.issue(session, order_id)
                for flag in FLAGS:
                    setattr(order, flag, True)
                    setattr(order, f"{flag}_at", now - timedelta(days=days if done_days is None else done_days))
        return order_id

    def retain(self, keep_days: int = 3 * YEAR, invoice_days: int = 10 * YEAR) -> dict[str, int]:
        return retention.retain(
            keep_days=keep_days, invoice_days=invoice_days, steps=MemorySteps(self.begin), also=self.also
        )

    def also(self, session: Session, order_ids: Sequence[str]) -> None:
        self.told += order_ids

    def name(self, order_id: str) -> str:
        with self.begin() as session:
            return load(session, order_id).customer_name

    def count(self, table: type) -> int:
        with self.begin() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def shop(begin: Begin, placed: Place) -> Shop:
    return Shop(begin, placed)


def test_an_order_complete_long_ago_loses_its_customer_and_keeps_its_invoice(shop: Shop) -> None:
    old, young = shop.order(days=3 * YEAR + 1), shop.order(days=3 * YEAR - 1)

    assert shop.retain() == {"removed": 0, "forgotten": 1}

    with shop.begin() as session:
        order = get_order(session, old)
        assert (order.customer_name, order.email, order.request_key) == ("", "", None)
        assert order.forgotten_at is not None
        assert (order.total_cents, len(order.lines)) == (4800, 1)
        stored = invoice.stored(session, old)
        assert stored is not None
        assert stored.pdf.startswith(b"%PDF-")
    assert shop.name(young) == "Mina Ito"
    assert shop.told == [old]


def test_what_was_forgotten_is_not_looked_at_again(shop: Shop) -> None:
    shop.order(days=4 * YEAR)
    assert [shop.retain()["forgotten"] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("how", [{"complete": False}, {"done_days": 1}])
def test_an_order_that_somebody_has_or_had_to_see_to_keeps_its_customer(shop: Shop, how: dict[str, int]) -> None:
    order_id = shop.order(days=4 * YEAR, **how)  # type: ignore[arg-type]
    assert shop.retain()["forgotten"] == 0
    assert shop.name(order_id) == "Mina Ito"


def test_past_the_span_of_the_law_all_of_an_order_goes(shop: Shop) -> None:
    gone = {shop.order(days=10 * YEAR + 1), shop.order(days=10 * YEAR + 1, complete=False)}
    shop.order(days=1)

    assert shop.retain() == {"removed": 2, "forgotten": 0}

    assert [shop.count(table) for table in (Order, OrderLine, Invoice)] == [1, 1, 1]
    assert set(shop.told) == gone


def test_many_go_in_small_transactions_and_all_in_one_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        shop.order(days=4 * YEAR)

    steps = MemorySteps(shop.begin)
    counts = retention.retain(keep_days=YEAR, invoice_days=0, steps=steps, also=shop.also)

    assert counts == {"removed": 0, "forgotten": 5}
    assert steps.results == {"forget 1": 2, "forget 2": 2, "forget 3": 1}


def test_never_is_a_choice(shop: Shop) -> None:
    shop.order(days=40 * YEAR)
    assert shop.retain(keep_days=0, invoice_days=0) == {"removed": 0, "forgotten": 0}


@pytest.mark.parametrize(("keep", "invoices"), [(-1, 0), (0, -1), (100, 99)])
def test_days_that_contradict_each_other_are_refused(shop: Shop, keep: int, invoices: int) -> None:
    with pytest.raises(ValueError, match=f"keep_days={keep}, invoice_days={invoices}"):
        shop.retain(keep, invoices)
