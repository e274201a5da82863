"""Whose limits hold of several versions of the registration file: those of the newest that a scheduler has."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from celadon.ledger import limits, registrations
from celadon.ledger.db import at, begin
from celadon.ledger.tables import registrations as table
from celadon.limits import Limit
from celadon.settings import settings

pytestmark = pytest.mark.usefixtures("ledger")


def said(digest: str, *, changed: bool = False, **queues: int) -> bool:
    """A scheduler says that it has this version, with queues and their concurrencies. Whether its limits were set."""
    rules = {("queue", name): (Limit(concurrency=many),) for name, many in queues.items()}
    return registrations.hold(digest, rules, changed=changed).applied  # type: ignore[arg-type]


def hold_nothing(digest: str) -> None:
    """Nobody has said to have it for a while."""
    with begin() as connection:
        silent = at(-settings().presence_s - 1)
        connection.execute(update(table).where(table.c.digest == digest).values(last_seen=silent))


def at_a_time(queue: str = "email") -> int | None:
    rules = limits.find("queue", queue).rules
    return rules[0].concurrency if rules else None


def test_the_limits_of_a_new_version_are_set_once():
    assert said("one", email=10)
    assert not said("one", email=10)

    assert (at_a_time(), limits.find("queue", "email").source) == (10, "file")


def test_a_newer_version_s_limits_replace_those_of_the_older_which_does_not_come_back():
    said("one", email=10)
    assert said("two", email=20)

    assert not said("one", email=10)  # The other host says so every few seconds, and
    assert not said("one", email=10)  # also when it starts anew.
    assert at_a_time() == 20


def test_once_nobody_has_the_newer_version_the_older_holds_again():
    said("one", email=10)
    said("two", email=20)
    hold_nothing("two")

    assert said("one", email=10)
    assert at_a_time() == 10


def test_whoever_changes_back_to_an_older_version_means_it():
    said("one", email=10)
    said("two", changed=True, email=20)

    assert said("one", changed=True, email=10)
    assert not said("two", email=20)
    assert at_a_time() == 10


def test_the_limits_of_a_queue_that_is_gone_go():
    said("one", email=10, sms=5)
    said("two", email=10)

    assert (at_a_time(), at_a_time("sms")) == (10, None)


def test_what_an_operator_set_stands_until_it_is_reset():
    said("one", email=10)
    limits.set_limits("queue", "email", [Limit(concurrency=1)], actor="test")

    said("two", email=20)
    said("three")

    assert (at_a_time(), limits.find("queue", "email").source) == (1, "api")


def test_the_limits_of_the_configuration_and_of_the_file_do_not_touch_each_other():
    limits.sync({("job", "reports.sales"): [Limit(concurrency=2)]}, 7)
    said("one", email=10)
    limits.sync({}, 8)
    said("two", sms=5)

    assert (at_a_time(), at_a_time("sms")) == (None, 5)
    assert limits.find("job", "reports.sales").rules == ()


def test_it_is_known_whether_there_was_ever_one():
    assert not registrations.any_had()
    said("one")
    assert registrations.any_had()


def test_the_queues_whose_limits_stand_are_those_of_a_version_and_those_that_an_operator_decided():
    assert registrations.limited() == set()

    said("one", email=10, sms=5)
    limits.sync({("queue", "default"): [Limit(concurrency=2)], ("job", "push"): [Limit(concurrency=2)]}, 1)
    limits.set_limits("queue", "fax", [], actor="test")
    assert registrations.limited() == {"email", "sms", "fax"}

    said("two", email=10)
    assert registrations.limited() == {"email", "fax"}
