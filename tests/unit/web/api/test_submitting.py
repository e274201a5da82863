"""Submitting over HTTP: one job, many jobs, and everything that is refused."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import func, select

from celadon import find, submit
from celadon.ledger.db import reading
from celadon.ledger.tables import jobs
from celadon.settings import settings
from tests.unit.web.api.given import JOB, body, fields, submitted
from tests.unit.web.conftest import BOTH, Client, Configure


def stored() -> int:
    with reading() as connection:
        return int(connection.execute(select(func.count()).select_from(jobs)).scalar_one())


@BOTH
def test_a_job_is_accepted_with_its_address_and_a_receipt(program: Client) -> None:
    answer = program.post("/api/jobs", json=body(tenant="acme", priority=5, expires_in_s=60.5))

    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["href"] == f"/api/jobs/{answer.json['job_id']}"
    assert answer.json == {
        "job_id": answer.json["job_id"],
        "outcome": "scheduled",
        "by": None,
        "after_ms": None,
        "reason": "due later, on queue 'default'",
        "href": answer.json["href"],
    }
    job = program.get(answer.headers["Location"]).json
    assert (job["name"], job["tenant"], job["priority"]) == (JOB, "acme", 5)


def test_it_is_due_when_it_says(program: Client) -> None:
    receipt = submitted(program, delay_s=None, run_at="2031-05-06T07:08:09.25+02:00")

    job = find(receipt["job_id"])
    assert job is not None
    assert job.as_dict()["run_at"] == "2031-05-06T05:08:09.250Z"


def test_a_job_that_is_due_runs_here_while_the_broker_is_away(program: Client) -> None:
    receipt = submitted(program, delay_s=None)

    assert receipt["outcome"] == "inline"
    assert "There is no order o-1" in receipt["reason"]


@pytest.mark.parametrize("where", ["header", "body", "both"])
def test_the_same_key_gives_the_first_job_back(program: Client, where: str) -> None:
    def again() -> Any:
        headers = {} if where == "body" else {"Idempotency-Key": "k-1"}
        return program.post("/api/jobs", json=body(key=None if where == "header" else "k-1"), headers=headers)

    first, second = again(), again()

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json["outcome"] == "duplicate"
    assert second.headers["Location"] == first.headers["Location"]
    assert stored() == 1


def test_a_key_used_for_another_payload_is_refused_with_the_job_that_has_it(program: Client) -> None:
    first = submitted(program, key="k-1")

    answer = program.post("/api/jobs", json=body(key="k-1", payload={"order_id": "o-2"}))

    assert (answer.status_code, answer.json["type"]) == (422, "urn:celadon:problem:request-key-reused")
    assert answer.json["job_id"] == first["job_id"]


def test_a_key_of_one_tenant_gives_its_job_to_no_other(program: Client) -> None:
    first = submitted(program, key="k-1", tenant="acme")

    for other in ("emca", None):
        answer = program.post("/api/jobs", json=body(key="k-1", tenant=other))
        assert (answer.status_code, answer.json["type"]) == (422, "urn:celadon:problem:request-key-reused")
    again = submitted(program, key="k-1", tenant="acme")
    assert (again["outcome"], again["job_id"]) == ("duplicate", first["job_id"])


def test_two_keys_that_differ_are_refused(program: Client) -> None:
    answer = program.post("/api/jobs", json=body(key="a"), headers={"Idempotency-Key": "b"})

    assert (answer.status_code, fields(answer)) == (422, ["key"])


@pytest.mark.parametrize("key", ["", " ", "k" * 201, "a b", "a,b", "a\tb", "schlüssel", "a\x7f"])
def test_a_header_that_can_not_be_a_key_is_refused(program: Client, key: str) -> None:
    assert program.post("/api/jobs", json=body(), headers={"Idempotency-Key": key}).status_code == 400
    assert program.post("/api/jobs/bulk", json={"jobs": [body()]}, headers={"Idempotency-Key": key}).status_code == 400
    assert stored() == 0


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"name": "orders.proces"}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "a\x00"}, ["name"]),
        ({"name": 1}, ["name"]),
        ({"payload": {}}, ["payload.order_id"]),
        ({"payload": {"order": "o", "order_id": 5}}, ["payload.order_id", "payload.order"]),
        ({"payload": []}, ["payload"]),
        ({"payload": "x"}, ["payload"]),
        ({"payload": {"order_id": "o\x00" + "x" * 300}}, ["payload"]),  # Too long for the scope of its steps.
        ({"queue": "nope"}, ["queue"]),
        ({"priority": 10}, ["priority"]),
        ({"priority": True}, ["priority"]),
        ({"priority": "1"}, ["priority"]),
        ({"delay_s": -1}, ["delay_s"]),
        ({"delay_s": 1e300}, ["delay_s"]),
        ({"delay_s": "60"}, ["delay_s"]),
        ({"delay_s": 1, "run_at": "2031-01-01T00:00:00Z"}, ["run_at"]),
        ({"delay_s": None, "run_at": "2031-01-01T00:00:00"}, ["run_at"]),
        ({"delay_s": None, "run_at": "2031-01-01"}, ["run_at"]),
        ({"delay_s": None, "run_at": 1924992000}, ["run_at"]),
        ({"expires_in_s": -0.5}, ["expires_in_s"]),
        ({"key": ""}, ["key"]),
        ({"key": "k" * 201}, ["key"]),
        ({"tenant": "a\x00"}, ["tenant"]),
        ({"confirm": "yes"}, ["confirm"]),
        ({"delay": 5}, ["delay"]),
        ({"name": 1, "payload": 1, "nonsense": 1}, ["name", "payload", "nonsense"]),
    ],
)
def test_fields_to_mend_are_named(program: Client, changes: dict[str, Any], mend: list[str]) -> None:
    wanted = body(**changes)
    answer = program.post("/api/jobs", json=wanted)

    assert (answer.status_code, fields(answer)) == (422, mend)
    # In a bulk it is the same, in its place.
    together = program.post("/api/jobs/bulk", json={"jobs": [body(), wanted]}).json
    assert (together["accepted"], together["refused"]) == (1, 1)
    bad = together["results"][1]
    assert (bad["index"], bad["status"]) == (1, 422)
    assert [each["field"] for each in bad["error"]["errors"]] == mend
    assert stored() == 1


DEEP = b'{"name": "orders.process", "payload": {"order_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"


@pytest.mark.parametrize(
    ("sent", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"name": "\\ud800"}', "application/json", 400),
        (DEEP, "application/json", 400),
        (b"[" * 200_000, "application/json", 400),
        (b'{"name": "orders.process", "payload": {"order_id": NaN}}', "application/json", 422),
        (b'{"name": "orders.process", "payload": {}, "delay_s": NaN}', "application/json", 422),
        (b'{"name": "orders.process", "payload": {}, "delay_s": 1e999}', "application/json", 422),
        (b'{"name": "orders.process", "payload": {}, "priority": 1' + b"0" * 5000 + b"}", "application/json", 400),
        (b"null", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"name=orders.process", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
    ],
)
@pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/bulk"])
def test_what_is_no_submission_is_refused(
    program: Client, path: str, sent: bytes, content_type: str, status: int
) -> None:
    answer = program.post(path, data=sent, content_type=content_type)

    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert stored() == 0


@pytest.mark.parametrize(
    ("path", "most"),
    [("/api/jobs", settings().max_payload_bytes + 16 * 1024), ("/api/jobs/bulk", settings().api_max_bulk_bytes)],
)
def test_a_body_may_be_as_large_as_its_limit_and_no_larger(program: Client, path: str, most: int) -> None:
    for size, status in ((most, 400), (most + 1, 413)):
        answer = program.post(path, data=b" " * size, content_type="application/json")
        assert (answer.status_code, answer.json["status"]) == (status, status)
    assert f"{most} bytes" in answer.json["detail"]


def test_a_body_of_untold_length_that_is_too_large_is_not_cut_off_and_taken(program: Client) -> None:
    sent = json.dumps(body()).encode() + b" " * 2**20
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}

    answer = program.post(
        "/api/jobs", input_stream=BytesIO(sent), content_type="application/json", environ_overrides=chunked
    )

    assert (answer.status_code, stored()) == (413, 0)


def test_a_payload_that_is_too_large_is_refused(program: Client) -> None:
    large = body(payload={"order_id": "x" * settings().max_payload_bytes})

    answer = program.post("/api/jobs", json=large)
    assert (answer.status_code, answer.json["type"]) == (413, "urn:celadon:problem:too-large")
    together = program.post("/api/jobs/bulk", json={"jobs": [large, body()]}).json
    assert [result["status"] for result in together["results"]] == [413, 202]


# --- bulk


@BOTH
def test_a_thousand_jobs_are_accepted_at_once_in_their_order(program: Client) -> None:
    wanted = [body(payload={"order_id": f"o-{number}"}) for number in range(1000)]

    told = program.post("/api/jobs/bulk", json={"jobs": wanted}).json

    assert (told["accepted"], told["refused"], stored()) == (1000, 0, 1000)
    assert [result["index"] for result in told["results"]] == list(range(1000))
    first, last = (find(told["results"][at]["receipt"]["job_id"]) for at in (0, -1))
    assert first is not None
    assert last is not None
    assert (first.payload, last.payload) == ({"order_id": "o-0"}, {"order_id": "o-999"})


def test_each_item_is_judged_by_itself_whatever_it_is(program: Client) -> None:
    submit(JOB, {"order_id": "o-1"}, key="used", delay=1)

    items = [body(), 5, None, [], {}, body(key="used"), body(key="used", payload={"order_id": "2"}), body(confirm=True)]
    told = program.post("/api/jobs/bulk", json={"jobs": items}).json

    said = [
        result["receipt"]["outcome"] if "receipt" in result else result["error"]["type"].rpartition(":")[2]
        for result in told["results"]
    ]
    wrong = "invalid-request"
    assert said == ["scheduled", wrong, wrong, wrong, wrong, "duplicate", "request-key-reused", wrong]
    assert told["results"][7]["error"]["errors"][0]["field"] == "confirm"


def test_one_header_names_all_items_that_name_themselves_not(program: Client) -> None:
    items = [body(), body(key="own"), body()]

    first, again = (
        program.post("/api/jobs/bulk", json={"jobs": items}, headers={"Idempotency-Key": "K"}).json for _ in range(2)
    )

    assert [result["receipt"]["outcome"] for result in again["results"]] == ["duplicate"] * 3
    ids = [[result["receipt"]["job_id"] for result in told["results"]] for told in (first, again)]
    assert ids[0] == ids[1]
    assert submit(JOB, {"order_id": "o-1"}, key="K:2").job_id == ids[0][2]
    assert submit(JOB, {"order_id": "o-1"}, key="own").job_id == ids[0][1]


def test_a_header_that_leaves_no_room_for_the_number_of_an_item_is_refused(program: Client) -> None:
    def post(most: int) -> Any:
        items = [body() for _ in range(1000)]
        return program.post("/api/jobs/bulk", json={"jobs": items}, headers={"Idempotency-Key": "k" * most})

    assert (post(197).status_code, stored()) == (400, 0)
    assert (post(196).json["accepted"], stored()) == (1000, 1000)


@pytest.mark.parametrize("jobs_given", [[], [body()] * 1001, {}, None, "x"])
def test_a_bulk_has_one_to_a_thousand_jobs(program: Client, jobs_given: Any) -> None:
    answer = program.post("/api/jobs/bulk", json={"jobs": jobs_given})

    assert (answer.status_code, fields(answer)) == (422, ["jobs"])


def test_how_large_a_bulk_may_be_is_a_setting(program: Client, configure: Configure) -> None:
    configure(api_max_bulk_bytes=50)

    answer = program.post("/api/jobs/bulk", data=json.dumps({"jobs": [body()]}), content_type="application/json")

    assert answer.status_code == 413
