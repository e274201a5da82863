from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session, sessionmaker

from services.orders.model import get_order
from services.orders.view import catalogue, load
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


def test_the_catalogue_is_sorted_by_name(begin: sessionmaker[Session]) -> None:
    with begin() as session:
        names = [product.name for product in catalogue(session)]

    assert len(names) == 12
    assert names == sorted(names)
