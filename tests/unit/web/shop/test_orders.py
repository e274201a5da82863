from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import delete

from celadon.errors import LedgerUnavailable
from celadon.ledger import session
from celadon.ledger.tables import jobs
from celadon.redis import get_redis
from celadon.states import State
from services.orders.flags import key
from services.orders.model import get_order
from services.orders.view import STEPS
from tests.servers import MailSink
from tests.unit.web.conftest import Client, Configure, wish
from tests.unit.web.shop.forms import place, text_of
from web import streams
from web.ordering import know
from web.shop import visitor
from web.shop.orders import RELOADS_FOR
from web.shop.progress import NOT_DONE, STATUS, WORDS, progress

SHORT = [{"sku": "JAR-MOON", "quantity": 4}]  # One more than there are.


def order_of(client: Client, **changes: object) -> str:
    order_id: str = client.post("/api/orders", json=wish(**changes)).json["id"]
    return order_id


# --- the page


def test_every_step_has_words_for_every_state() -> None:
    assert list(WORDS) == list(STEPS)
    for words in WORDS.values():
        assert set(words) == {"title", "waiting", "running", "done", "failed", "given_up"}
    assert set(STATUS) == {"processing", "waiting", "complete", "failed"}


def test_an_unfinished_order_keeps_itself_up_to_date(client: Client) -> None:
    order_id = order_of(client, lines=SHORT)

    page = client.get(f"/orders/{order_id}").text

    assert f'data-events="/orders/{order_id}/events"' in page
    assert f'data-state="/orders/{order_id}.json"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert "Look again" not in page
    assert "Moon jar is short: 4 wanted, 3 left" in page
    assert "Next try at" in page


def test_an_order_that_is_held_back_says_that_it_waits_for_its_turn(client: Client) -> None:
    known = know(order_of(client, lines=SHORT))
    assert known.job is not None

    told = progress(replace(known, job=replace(known.job, state=State.WAITING)))

    assert (told["says"], told["finished"]) == (STATUS["waiting"], False)
    assert progress(known)["says"] == STATUS["processing"]


def test_an_order_whose_customer_is_forgotten_can_still_be_looked_at(client: Client) -> None:
    order_id = order_of(client)
    with session() as own:
        order = get_order(own, order_id)
        order.customer_name = order.email = ""
        own.commit()

    page = text_of(client.get(f"/orders/{order_id}"))

    assert " by " not in page.partition("Progress")[0]
    assert "Sent to you" in page


def test_without_scripts_an_order_that_takes_longer_is_looked_at_by_a_link(client: Client) -> None:
    order_id = order_of(client, lines=SHORT)
    with session() as own:
        get_order(own, order_id).created_at -= RELOADS_FOR
        own.commit()

    page = client.get(f"/orders/{order_id}").text

    assert "http-equiv" not in page
    assert f'<noscript><p class="next"><a href="/orders/{order_id}">Look again</a>' in page


def test_a_finished_order_asks_no_more(client: Client) -> None:
    page = client.get(f"/orders/{order_of(client)}").text

    assert "data-events" not in page
    assert "http-equiv" not in page
    assert "Look again" not in page


def test_only_who_ordered_is_led_to_the_orders_of_their_browser(app: Flask, client: Client) -> None:
    address = place(client)

    assert "You find this page again" in client.get(address).text
    assert "You find this page again" not in app.test_client().get(address).text


def test_who_looks_at_an_order_mends_the_copy_of_its_flags(client: Client) -> None:
    order_id = order_of(client)
    get_redis().delete(key(order_id))

    client.get(f"/orders/{order_id}")

    assert get_redis().hget(key(order_id), "email_sent") == "1"


def test_errors_of_our_servers_are_not_the_customer_s_business(
    client: Client, program: Client, mail_sink: MailSink
) -> None:
    mail_sink.answers = ["451 the disk of mx7.internal is full"]
    order_id = order_of(client)

    seen = [client.get(f"/orders/{order_id}{path}").text for path in ("", ".json")]
    with client.get(f"/orders/{order_id}/events") as answer:
        parts = iter(answer.response)
        seen.append((next(parts) + next(parts)).decode())

    for text in seen:
        assert WORDS["email"]["failed"] in text
        assert "mx7.internal" not in text
        assert "MailDelayed" not in text
    assert "mx7.internal" in program.get(f"/api/orders/{order_id}").text


def test_an_order_that_needs_people_says_so(client: Client, mail_sink: MailSink) -> None:
    mail_sink.answers = ["550 no such user"]

    page = client.get(f"/orders/{order_of(client)}").text

    assert f">{STATUS['failed']}</p>" in page
    assert "The mail to mina@example.com was not accepted" in page
    assert "trying again" not in page


def test_what_an_order_that_was_given_up_never_reached_is_not_done(client: Client) -> None:
    known = know(order_of(client, lines=SHORT))
    assert known.job is not None

    told = progress(replace(known, steps={}, job=replace(known.job, state=State.CANCELLED)))

    assert (told["status"], told["finished"]) == ("failed", True)
    assert told["steps"]["inventory"]["says"] == NOT_DONE
    assert told["steps"]["email"]["says"] == "Sent to mina@example.com"


@pytest.mark.parametrize(("mail", "status"), [("451 come back", "failed"), ("250 kept", "complete")])
def test_an_order_whose_job_has_left_the_ledger_is_worked_on_no_more(
    client: Client, mail_sink: MailSink, mail: str, status: str
) -> None:
    mail_sink.answers = [mail]
    address = place(client)
    with session() as own:
        own.execute(delete(jobs))
        own.commit()

    assert client.get(f"{address}.json").json["status"] == status
    assert f'data-status="{status}"' in client.get("/orders").text


def test_what_a_job_did_last_is_in_what_is_told_at_its_end(
    client: Client, mail_sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an order that was given up, and a look at it from just before its invoice was written
    mail_sink.answers = ["550 no such user"]
    order_id = order_of(client)
    now = know(order_id).order
    views = iter([replace(now, raised={}, invoice_sha256=None), now])
    monkeypatch.setattr("web.ordering.load", lambda *_: next(views))
    # When it is told, then with the invoice
    told = progress(know(order_id))
    assert (told["finished"], told["invoice"]) == (True, True)


def test_the_invoice_can_be_downloaded(client: Client) -> None:
    order_id = order_of(client)

    answer = client.get(f"/orders/{order_id}/invoice.pdf")

    invoice = client.get(f"/api/orders/{order_id}").json["invoice"]
    assert answer.mimetype == "application/pdf"
    assert hashlib.sha256(answer.data).hexdigest() == invoice["sha256"]
    assert f"celadon-invoice-{invoice['number']}.pdf" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["", ".json", "/events", "/invoice.pdf"])
def test_unknown_orders_are_pages_that_say_so(client: Client, path: str) -> None:
    answer = client.get(f"/orders/{uuid4()}{path}")

    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is no order" in answer.text


# --- its events


def events_of(text: str) -> Iterator[tuple[str, dict[str, object]]]:
    """(event, data) of each message of a stream."""
    for message in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in message.splitlines() if line)
        if "data" in lines:
            yield lines["event"], json.loads(lines["data"])


def test_a_finished_order_is_told_once_and_the_stream_ends(client: Client) -> None:
    order_id = order_of(client)

    answer = client.get(f"/orders/{order_id}/events")

    assert answer.mimetype == "text/event-stream"
    assert [*events_of(answer.text)] == [("end", client.get(f"/orders/{order_id}.json").json)]


def test_each_change_is_told_until_the_end(client: Client, mail_sink: MailSink) -> None:
    # Given an order whose mail is late, and somebody who watches
    mail_sink.answers = ["451 come back"]
    order_id = order_of(client)
    stream = iter(client.get(f"/orders/{order_id}/events").response)
    seen = [*events_of(next(stream).decode() + next(stream).decode())]
    # When the rest is done
    with session() as own:
        order = get_order(own, order_id)
        order.raise_flag("email_sent", order.created_at)
        own.commit()
    # Then that is told, and nothing more
    seen += [*events_of("".join(part.decode() for part in stream))]
    assert [(event, data["status"]) for event, data in seen] == [("change", "processing"), ("end", "complete")]


def test_a_ledger_that_goes_away_ends_the_stream_and_the_browser_comes_back(
    client: Client, configure: Configure, ledgers
) -> None:
    url = ledgers.fresh("sqlite")
    configure(ledger_url=url)
    order_id = order_of(client, lines=SHORT)
    stream = iter(client.get(f"/orders/{order_id}/events").response)
    assert "retry: " in next(stream).decode()
    next(stream)

    configure(ledger_url="sqlite:////nowhere/celadon.db")

    assert [*stream] == []
    assert client.get(f"/orders/{order_id}/events").status_code == 503
    configure(ledger_url=url)
    assert client.get(f"/orders/{order_id}.json").json["status"] == "processing"


def test_when_all_streams_are_taken_the_page_can_ask_instead(client: Client, configure: Configure) -> None:
    configure(web_threads=2)
    streams.holders.cache_clear()
    order_id = order_of(client, lines=SHORT)
    taken = client.get(f"/orders/{order_id}/events")
    try:
        assert client.get(f"/orders/{order_id}/events").status_code == 503
        assert client.get(f"/orders/{order_id}.json").status_code == 200
    finally:
        taken.close()
        streams.holders.cache_clear()


def test_progress_needs_no_request(client: Client) -> None:
    # A stream goes on when its request's context is gone.
    assert progress(know(order_of(client)))["finished"] is True


# --- the history


def test_a_browser_without_orders_is_told_so(client: Client) -> None:
    page = client.get("/orders").text

    assert "None from this browser yet." in page
    assert 'class="button" href="/"' in page


def test_the_history_has_the_newest_first_with_the_status_of_each(client: Client, mail_sink: MailSink) -> None:
    mail_sink.answers = ["250 kept", "550 no such user", "451 come back"]
    addresses = [place(client) for _ in range(3)]

    page = client.get("/orders").text

    assert [page.index(address) for address in reversed(addresses)] == sorted(page.index(a) for a in addresses)
    statuses = [word for word in page.split("<") if word.startswith('span class="badge"')]
    assert [word.partition(">")[2] for word in statuses] == ["In progress", "Needs attention", "Complete"]
    assert text_of(client.get("/orders")).count("€48.00") == 3


def test_another_browser_sees_nothing_of_it(app: Flask, client: Client) -> None:
    place(client)

    assert "None from this browser yet." in app.test_client().get("/orders").text


def test_orders_that_are_gone_and_too_many_orders_are_left_out(client: Client) -> None:
    address = place(client)
    with client.session_transaction() as kept:
        kept["orders"] = [str(uuid4()), *kept["orders"]]

    page = client.get("/orders").text

    assert page.count("/orders/") == 1
    assert address in page
    assert f"The last {visitor.MAX_ORDERS} orders" in page


def test_the_history_of_a_ledger_that_is_away_says_when_to_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(client)

    def away(*_: object) -> None:
        raise LedgerUnavailable

    monkeypatch.setattr("web.shop.orders.statuses", away)
    answer = client.get("/orders")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "We will be back in a moment" in answer.text
    assert 'class="button" href="/orders"' in answer.text
