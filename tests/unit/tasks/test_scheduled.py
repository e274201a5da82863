"""The jobs of the schedules, run by the platform on a ledger of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import celeryconfig
from celadon import beat_schedule, registry, step_views, submit
from celadon.jobs import JobView
from celadon.ledger import session
from celadon.states import State
from celadon.testing import Sandbox, sandbox
from services.orders.model import FLAGS, Product, SalesReport, get_order
from services.orders.place import Line, place
from services.reports import sales
from tests.servers import MailSink, RedisServer
from tests.unit.web.conftest import Configure

VIENNA = ZoneInfo("Europe/Vienna")
# Of the schedules and limits as this generation of the configuration says them. A rolling update goes by the number: if
# this test fails since you have changed one, raise `beat_generation` in celeryconfig.py by one, and write it here with
# the hash that the test tells.
GENERATION, HASH = 2, "e51e2b00156ba46a"


@pytest.fixture
def box(configure: Configure, redis_server: RedisServer, mail_sink: MailSink) -> Iterator[Sandbox]:
    configure(smtp_url=mail_sink.url, redis_url=redis_server.url, admin_email="admin@example.org")
    with sandbox() as made:
        yield made


def run(box: Sandbox, name: str, **payload: Any) -> JobView:
    receipt = submit(name, payload)
    [view] = [view for view in box.run_due() if view.id == receipt.job_id]
    return view


def order(days: float, **quantities: int) -> str:
    """Place an order so many days ago."""
    lines = [Line(sku.replace("_", "-"), quantity) for sku, quantity in (quantities or {"BOWL_TEA": 1}).items()]
    with session() as own:
        placed, _ = place(own, name="Mina Ito", email="mina@example.com", lines=lines)
        placed.created_at = datetime.now(UTC) - timedelta(days=days)
        own.commit()
        return placed.id


def orders_of_yesterday(count: int) -> str:
    """The day."""
    yesterday = (datetime.now(VIENNA) - timedelta(days=1)).date()
    noon = datetime.combine(yesterday, datetime.min.time(), VIENNA) + timedelta(hours=12)
    for _ in range(count):
        order((datetime.now(UTC) - noon) / timedelta(days=1))
    return str(yesterday)


SCHEDULED = {
    "reports.sales": "data_sync",
    "stock.check": "scheduled",
    "orders.retention": "data_sync",
    "orders.rebuild_flags": "scheduled",
}


def test_each_schedule_has_a_job_that_takes_its_payload_and_the_queue_of_its_kind() -> None:
    queues = {}
    for entry in celeryconfig.beat_schedule.values():
        definition = registry.get(entry["task"])
        definition.validate(entry.get("kwargs", {}))
        queues[definition.name] = definition.queue_of(delayed=True)
    assert queues == SCHEDULED


def test_another_schedule_or_limit_is_of_another_generation() -> None:
    entries = sorted((asdict(entry) for entry in beat_schedule.entries()), key=lambda entry: entry["name"])
    said = json.dumps([entries, celeryconfig.limits], default=str, sort_keys=True)
    assert (celeryconfig.beat_generation, hashlib.sha256(said.encode()).hexdigest()[:16]) == (GENERATION, HASH)


def test_what_works_through_the_database_runs_at_night_where_the_shop_is() -> None:
    for entry in celeryconfig.beat_schedule.values():
        heavy = SCHEDULED[entry["task"]] == "data_sync"
        assert (entry.get("timezone"), entry["missed"]) == (("Europe/Vienna", "latest") if heavy else (None, "skip"))
        assert entry["overlap"] == "skip"


def test_the_night_reports_on_the_day_before(box: Sandbox, mail_sink: MailSink) -> None:
    yesterday = orders_of_yesterday(2)

    job = run(box, "reports.sales", timezone="Europe/Vienna")

    assert job.state == State.SUCCEEDED
    assert job.result[yesterday]["orders"] == 2
    with session(read_only=True) as own:
        assert own.get_one(SalesReport, date.fromisoformat(yesterday)).revenue_cents == 4800
    assert [message["Subject"].split(":")[1] for message in mail_sink.messages] == [" 2 orders, EUR 48.00"]


def test_a_report_that_fails_in_the_middle_goes_on_where_it_was(
    box: Sandbox, mail_sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that fails in its third part
    yesterday = orders_of_yesterday(4)
    monkeypatch.setattr(sales, "PART", 1)
    add_up, added = sales.add_up, []

    def failing(own: Any, *how: Any) -> dict[str, Any]:
        added.append(how[-1])
        if len(added) == 3:
            raise OSError("the disk hiccups")
        return add_up(own, *how)

    monkeypatch.setattr(sales, "add_up", failing)
    assert run(box, "reports.sales", timezone="Europe/Vienna").state == State.SCHEDULED
    # When it is tried again
    box.advance(timedelta(minutes=2))
    [job] = box.run_due()
    # Then it begins with the part that failed
    assert job.result[yesterday]["orders"] == 4
    assert added[2] == added[3]
    assert len(added) == 5 + 1, "each of the five parts once, the last of which is empty, and that one again"
    assert len(mail_sink.messages) == 1


def test_short_stock_is_told_once_under_the_key_of_its_step(box: Sandbox, mail_sink: MailSink) -> None:
    with session() as own:
        own.get_one(Product, "POT-TEA").stock = 4
        own.commit()
    mail_sink.answers = ["451 come back"]
    assert run(box, "stock.check").state == State.SCHEDULED

    box.advance(timedelta(minutes=1))
    [again] = box.run_due()
    later = run(box, "stock.check")

    assert (again.result, later.result) == ({"short": 1, "new": 1}, {"short": 1, "new": 0})
    assert [message["Subject"] for message in mail_sink.messages] == ["To be ordered: Teapot"]


def test_an_order_that_is_forgotten_leaves_no_marks_in_the_ledger(box: Sandbox, mail_sink: MailSink) -> None:
    # Given two orders worked through, one of them four years ago
    old, young = order(0), order(0)
    for order_id in (old, young):
        assert run(box, "orders.process", order_id=order_id).state == State.SUCCEEDED
    with session() as own:
        then = datetime.now(UTC) - timedelta(days=4 * 365)
        forgotten = get_order(own, old)
        forgotten.created_at = then
        for flag in FLAGS:
            setattr(forgotten, f"{flag}_at", then)
        own.commit()
    # When the night comes
    job = run(box, "orders.retention", keep_days=3 * 365, invoice_days=10 * 365)
    # Then nothing is left of its customer
    assert job.result == {"removed": 0, "forgotten": 1}
    with session(read_only=True) as own:
        assert [get_order(own, each).email for each in (old, young)] == ["", "mina@example.com"]
    assert [list(step_views(f"order:{each}")) for each in (old, young)] == [[], ["inventory", "email", "invoice"]]


def test_days_that_contradict_each_other_end_the_job_at_once(box: Sandbox) -> None:
    job = run(box, "orders.retention", keep_days=100, invoice_days=10)
    assert (job.state, job.error and job.error["kind"]) == (State.DEAD, "ValueError")
