"""Submitting to a delegated queue over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest

from celadon.client import KeyConflict, UnknownQueue
from tests.unit.celadon.client.given import ACCEPTED
from tests.unit.celadon.scripted import problem


def test_it_says_all_that_was_given_and_gives_the_receipt(server, call):
    server.replies = [ACCEPTED]

    hook = "https://shop.example.org/hook"
    made = call("delegate", "mail/bulk", {"to": "mina"}, key="k", delay=timedelta(minutes=1), callback=hook)

    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/queues/mail%2Fbulk/jobs")
    assert asked.body == {"data": {"to": "mina"}, "key": "k", "delay_s": 60.0, "callback": hook}
    assert (made.job_id, made.outcome) == ("1", "queued")


def test_what_the_server_refuses_has_its_facts(server, call):
    server.replies = [problem(404, "unknown-queue"), problem(422, "request-key-reused", job_id="1")]

    with pytest.raises(UnknownQueue) as unknown:
        call("delegate", "emial", 1)
    assert unknown.value.queue == "emial"
    assert unknown.value.idempotency_key.startswith("client:")
    with pytest.raises(KeyConflict) as conflict:
        call("delegate", "email", 1, key="k")
    assert (conflict.value.key, conflict.value.job_id) == ("k", "1")
