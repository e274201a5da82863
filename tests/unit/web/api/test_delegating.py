"""Submitting to a delegated queue over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from celadon import find
from celadon.delegation import file
from celadon.ledger.apikeys import Scope
from tests.unit.web.api.given import fields
from tests.unit.web.conftest import Client, Configure, with_key

FILE = """
[services]
mail = "https://mail.example.org"
[callbacks]
allowed = ["https://shop.example.org"]
[queues.email]
service = "mail"
attempts = 7
"""


@pytest.fixture
def configure(configure: Configure, tmp_path: Path) -> Configure:
    path = tmp_path / "delegation.toml"
    path.write_text(FILE)
    configure(delegation_file=path)
    file.forget()
    return configure


def test_a_job_is_accepted_with_its_receipt(program: Client) -> None:
    sent = {"data": {"to": "mina"}, "tenant": "acme", "delay_s": 60, "callback": "https://shop.example.org/hook"}
    answer = program.post("/api/queues/email/jobs", json=sent)

    assert (answer.status_code, answer.json["outcome"]) == (202, "scheduled")
    assert answer.headers["Location"] == answer.json["href"]
    job = find(answer.json["job_id"])
    assert job is not None
    assert (job.queue, job.payload, job.max_attempts, job.tenant) == ("email", {"data": {"to": "mina"}}, 7, "acme")


def test_a_key_in_the_header_gives_the_first_job_back(program: Client) -> None:
    first, again = (
        program.post("/api/queues/email/jobs", json={"data": 1}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )

    assert again.json["outcome"] == "duplicate"
    assert again.json["job_id"] == first.json["job_id"]


def test_a_queue_that_is_not_delegated_is_not_found(program: Client) -> None:
    answer = program.post("/api/queues/emial/jobs", json={"data": 1})

    assert (answer.status_code, answer.json["type"]) == (404, "urn:celadon:problem:unknown-queue")
    assert "did you mean 'email'" in answer.json["detail"]


def test_what_does_not_fit_is_told_by_field(program: Client) -> None:
    assert fields(program.post("/api/queues/email/jobs", json={"data": 1, "callback": "https://else.example"})) == [
        "callback"
    ]
    assert fields(program.post("/api/queues/email/jobs", json={"payload": {}})) == ["payload"]


def test_a_key_without_the_scope_may_not(app) -> None:
    assert with_key(app, Scope.READ).post("/api/queues/email/jobs", json={"data": 1}).status_code == 403
