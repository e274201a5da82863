from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from services.orders.invoice import issue
from services.orders.model import get_order
from services.orders.view import catalogue, load, load_many
from tests.unit.services.conftest import Place

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Step:
    state: str
    error: str | None = None
    last_attempt_at: datetime | None = NOON


def test_an_order_reads_as_json_with_every_name_of_its_flags(begin: sessionmaker[Session], placed: Place) -> None:
    order = placed(BOWL_TEA=2)
    with begin.begin() as session:
        get_order(session, order.id).raise_flag("inventory_processed", NOON)

    with begin() as session:
        view = load(session, order.id)
    found = json.loads(json.dumps(view.as_dict({"email": Step("failed", "451 come back")})))

    assert found["number"] == "C-000001"
    assert found["customer"] == {"name": "Mina Ito", "email": "mina@example.com"}
    assert found["inventory_processed"] is True
    assert found["inventory_processed_at"] == "2026-11-22T12:00:00.000Z"
    assert [found[name] for name in ("email_sent", "email_sent_at", "invoice_generated")] == [
        False,
        None,
        False,
    ]
    assert found["processing"] == {
        "inventory": {
            "state": "done",
            "done_at": "2026-11-22T12:00:00.000Z",
            "last_error": None,
            "last_attempt": None,
        },
        "email": {
            "state": "failed",
            "done_at": None,
            "last_error": "451 come back",
            "last_attempt": "2026-11-22T12:00:00.000Z",
        },
        "invoice": {"state": "waiting", "done_at": None, "last_error": None, "last_attempt": None},
    }


def test_a_step_whose_mark_is_late_is_done_by_its_flag(begin: sessionmaker[Session], placed: Place) -> None:
    order = placed()
    with begin.begin() as session:
        get_order(session, order.id).raise_flag("email_sent", NOON)

    with begin() as session:
        view = load(session, order.id)

    assert view.processing({"email": Step("running")})["email"]["state"] == "done"


def test_several_orders_are_read_together_in_the_order_asked_for(
    begin: sessionmaker[Session], engine: Engine, placed: Place
) -> None:
    # Given three orders, one with an invoice
    first, second, third = (placed(BOWL_TEA=n).id for n in (1, 2, 3))
    with begin.begin() as session:
        issue(session, second)
    # When they and one that is not there are read
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with begin() as session:
        views = load_many(session, [third, "unknown", first, second])
    asked = len([each for each in statements if "FROM" in each])
    # Then they are what they are one by one, without a query for each
    with begin() as session:
        assert views == [load(session, each) for each in (third, first, second)]
    assert views[2].invoice_sha256 is not None
    assert asked == 2


def test_the_catalogue_is_sorted_by_name(begin: sessionmaker[Session]) -> None:
    with begin() as session:
        names = [product.name for product in catalogue(session)]

    assert len(names) == 12
    assert names == sorted(names)
