"""What an operator sees of real processes: their metrics, Sentry, their logs, and their heartbeats."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import need
from tests.eventually import eventually
from tests.ledgers import Ledgers
from tests.live.watchedconfig import WORD
from tests.live.watching import BEATING, KEY, PROCESSES, Watched
from tests.servers import RedisServer, SentrySink

CONFIG = "tests.live.watchedconfig"
NIGHTLY = "watched-nightly"  # The slug of the schedule.


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    sink, redis = SentrySink(), need(lambda: RedisServer(folder))
    sink.start()
    redis.start()
    more = {"CELERY_CONFIG_MODULE": CONFIG, "TMPDIR": str(folder)}
    more |= {"SENTRY_DSN": sink.dsn, "SENTRY_TRACES_SAMPLE_RATE": "1"}
    deployment = Watched(folder, redis, ledgers.fresh("sqlite", CONFIG), more, sentry=sink)
    for name in BEATING:  # As a process leaves it that was killed while it was ready.
        deployment.ready_file(name).touch()
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()
        redis.stop()
        sink.stop()


def test_every_attempt_is_counted_once_whichever_process_ran_it(watched: Watched) -> None:
    for job in ("watched.fails", "watched.sync.slow"):
        watched.write(f"INSERT INTO switches (kind, name, paused, use_broker) VALUES ('job', '{job}', true, true)")
    alone = [watched.submit("watched.fails", f"alone-{number}") for number in range(2)]
    late = watched.submit("watched.sync.slow", "late")
    # In quarantine: an attempt runs in a process of its own, and by its end clears the job's name.
    watched.write("UPDATE jobs SET quarantine = true WHERE state = 'waiting'")
    watched.write("DELETE FROM switches")
    for job in ("watched.works", "watched.fails", "watched.sync.fails"):
        for number in range(3):
            watched.submit(job, f"counted-{number}")
    watched.submit("watched.sync.slow", "slow")
    watched.submit("watched.sync.dies", "dies")
    eventually("all have ended", lambda: not watched.unfinished(), within=20)

    def told() -> set[str]:
        return {event["tags"]["worker"] for job_id in alone for event in watched.sentry.events(job_id=job_id)}

    eventually("two processes of their own have told, and the lane's", lambda: len(told()) == 3)
    eventually("one told that it was late before it ended itself", lambda: watched.sentry.events(job_id=late))
    for process, job in (
        ("default", "watched.works"),
        ("default", "watched.fails"),
        ("data_sync", "watched.sync.fails"),
        ("data_sync", "watched.sync.slow"),
        ("data_sync", "watched.sync.dies"),
    ):
        outcomes = watched.outcomes(job)
        assert outcomes
        assert watched.values(process, "celadon_attempts_total", "outcome", name=job) == outcomes
        ran = sum(number for outcome, number in outcomes.items() if outcome != "crashed")
        assert watched.value(process, "celadon_run_seconds_count", name=job) == ran
    # Files for the processes that lived at once, not for those that ever lived.
    assert len(list(watched.folder.glob("celadon-metrics-*/counter_*.db"))) <= 13


def test_submissions_and_requests_are_counted_over_all_processes_of_the_web(watched: Watched) -> None:
    before = watched.value("web", "celadon_submissions_total", name="watched.works", outcome="queued")
    for _ in range(12):
        watched.submit("watched.works", "submitted")
        assert watched.ask("POST", "/api/submits", {"job": "made.up", "payload": {}})[0] == 422
        assert watched.ask("GET", "/api/made/up")[0] == 404

    submitted = watched.value("web", "celadon_submissions_total", name="watched.works", outcome="queued")
    assert submitted - before == 12
    assert watched.values("web", "celadon_submissions_total", "outcome", name="(unknown)") == {"UnknownJob": 12}
    refused = {"route": "/api/submits", "status": "422", "method": "POST"}
    assert watched.value("web", "celadon_http_requests_total", **refused) == 12
    assert watched.value("web", "celadon_http_requests_total", route="(none)", status="404") == 12
    assert "made" not in str(watched.metrics("web"))


def test_every_process_tells_of_its_build_and_circuit_and_the_scheduler_of_the_ledger(watched: Watched) -> None:
    kinds = {"default": "worker", "data_sync": "worker", "beat": "beat", "web": "web"}
    for name, kind in kinds.items():
        assert watched.value(name, "celadon_build_info", process=kind) == 1
        assert watched.value(name, "celadon_circuit_open") == 0
    assert len(watched.values("beat", "celadon_jobs", "state")) == 8
    assert set(watched.values("beat", "celadon_queue_jobs", "queue")) == {"default", "data_sync", "scheduled"}


@pytest.mark.parametrize(("job", "queue"), [("watched.fails", "default"), ("watched.sync.fails", "data_sync")])
def test_a_failed_job_is_told_to_sentry_with_its_tags(watched: Watched, job: str, queue: str) -> None:
    job_id = watched.submit(job, "told")
    row = watched.until(job_id, "dead")

    eventually("both attempts are told", lambda: len(watched.sentry.events(job_id=job_id)) == 2)
    first, last = watched.sentry.events(job_id=job_id)
    for number, event in enumerate((first, last), start=1):
        expected = {"job": job, "queue": queue, "attempt": str(number), "engine": "worker"}
        assert expected.items() <= event["tags"].items()
        assert event["fingerprint"] == [row["error_fingerprint"]]
        assert event["exception"]["values"][-1]["type"] == "OperationalError"
        assert event["transaction"] == job
    assert [(event["level"], event["tags"]["final"]) for event in (first, last)] == [
        ("warning", "false"),
        ("error", "true"),
    ]


def test_a_job_that_fails_inline_is_told_by_the_request_which_keeps_its_name(watched: Watched) -> None:
    watched.write(
        "INSERT INTO switches (kind, name, paused, use_broker) VALUES ('job', 'watched.inline', false, false)"
    )

    def told() -> list[dict[str, Any]]:
        watched.submit("watched.inline", "inline")  # The web hears of the switch a moment later.
        return watched.sentry.events(job="watched.inline", engine="inline")

    event = eventually("it is told", told)[0]
    assert event["transaction"] == "/api/submits"
    (trace,) = eventually("the request is traced", lambda: traces(watched, event["contexts"]["trace"]["trace_id"]))
    assert trace["transaction"] == "/api/submits"


def traces(watched: Watched, trace_id: str) -> list[dict[str, Any]]:
    return [trace for trace in watched.sentry.traces() if trace["contexts"]["trace"]["trace_id"] == trace_id]


def test_a_schedule_is_a_monitor_that_is_in_progress_until_its_job_has_ended_for_good(watched: Watched) -> None:
    watched.write("UPDATE schedules SET next_due = '2026-01-01 00:00:00.000', last_due = '2025-01-01 00:00:00.000'")

    told = eventually(
        "its job has checked out", lambda: [one for one in watched.sentry.check_ins(NIGHTLY) if one["status"] == "ok"]
    )

    check_ins = watched.sentry.check_ins(NIGHTLY)
    assert [one["status"] for one in check_ins] == ["in_progress", "in_progress", "ok"]
    assert told[0]["duration"] >= 0
    assert check_ins[0]["monitor_config"] == {
        "schedule": {"type": "interval", "value": 1, "unit": "hour"},
        "timezone": "UTC",
        "max_runtime": 65,  # Its time-out, and an hour between two tries.
    }
    (job_id,) = {str(UUID(one["check_in_id"])) for one in check_ins}
    assert watched.job(job_id)["schedule"] == "Watched: nightly"


def test_an_error_of_the_web_is_told_to_sentry_with_the_route_and_the_requests_id(watched: Watched) -> None:
    status, _, headers = watched.ask("POST", f"/api/fails/{WORD}?word={WORD}", {"word": WORD}, Cookie=f"word={WORD}")
    assert status == 500

    (event,) = eventually("it is told", lambda: watched.sentry.events(request_id=headers["X-Request-ID"]))
    assert event["transaction"] == "/api/fails/<name>"
    assert event["exception"]["values"][-1]["value"] == "it fails with 1 fields"
    assert "request" not in event


def test_a_request_is_one_line_and_its_id_stands_on_the_line_of_what_it_submitted(watched: Watched) -> None:
    job_id = watched.submit("watched.works", "logged", **{"X-Request-ID": "mine-1"})
    watched.until(job_id, "succeeded")

    (line,) = eventually("it is logged", lambda: watched.logged("web", "http.request", request_id="mine-1"))
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/submits", 200)
    assert 0 < line["ms"] < 10_000
    (submitted,) = watched.logged("web", "job.submitted", request_id="mine-1")
    assert (submitted["job_id"], submitted["outcome"]) == (job_id, "queued")
    (started,) = watched.logged("default", "job.started", job_id=job_id)
    (ended,) = eventually("its end is logged", lambda: watched.logged("default", "job.ended", job_id=job_id))
    assert (started["attempt"], ended["outcome"]) == (1, "succeeded")


def test_requests_and_jobs_are_traced(watched: Watched) -> None:
    for job in ("watched.works", "watched.sync.fails"):
        watched.submit(job, "traced")

    def told() -> dict[str, Any]:
        return {trace["transaction"]: trace["contexts"]["trace"] for trace in watched.sentry.traces()}

    names = {"/api/submits", "watched.works", "watched.sync.fails"}
    eventually("all are traced", lambda: names <= told().keys())
    traced = told()
    assert traced["/api/submits"]["op"] == "http.server"
    assert (traced["watched.works"]["op"], traced["watched.works"]["status"]) == ("queue.process", "ok")
    assert traced["watched.sync.fails"]["status"] == "internal_error"


def test_what_is_in_a_payload_a_body_or_a_key_is_neither_logged_nor_sent(watched: Watched) -> None:
    job_id = watched.submit("watched.fails", "secret")
    headers = watched.ask("POST", f"/api/fails/{WORD}", {"word": WORD}, Cookie=f"word={WORD}")[2]
    for broken in (f"GET /?{WORD} HTTP/9.9", f"GET / HTTP/1.1\r\nAuthorization Bearer {KEY}"):
        with socket.create_connection(("127.0.0.1", watched.web_port)) as connection:
            connection.sendall(f"{broken}\r\n\r\n".encode())
            assert b"400 Bad Request" in connection.recv(1000)
    eventually("the job is told", lambda: watched.sentry.events(job_id=job_id))
    eventually("so is the request", lambda: watched.sentry.events(request_id=headers["X-Request-ID"]))
    told = [json.loads(line) for line in watched.lines("web") if "Invalid request" in line]
    assert {one["event"] for one in told} >= {"Invalid request: InvalidHTTPVersion", "Invalid request: InvalidHeader"}
    assert not any("request_id" in one for one in told)

    for secret in (WORD, KEY):
        assert secret.encode() not in watched.sentry.raw
        for process in PROCESSES:
            assert [line for line in watched.lines(process) if secret in line] == []


def test_every_line_of_every_process_is_json(watched: Watched) -> None:
    for process in PROCESSES:
        for line in watched.lines(process):
            assert {"event", "level", "logger", "timestamp"} <= json.loads(line).keys()
    (listening,) = [line for line in watched.lines("web") if "Listening at" in line]
    assert json.loads(listening)["logger"] == "gunicorn.error"


def test_workers_and_beat_are_alive_and_ready_though_neither_broker_nor_ledger_answers(watched: Watched) -> None:
    with watched.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        watched.redis.freeze()
        try:
            before = {name: watched.beaten_at(name) for name in BEATING}
            # Sooner than anything that waits for the ledger gives up.
            eventually("all beat", lambda: all(watched.beaten_at(name) > then for name, then in before.items()), 8)
            assert all(watched.is_ready(name) for name in BEATING)
        finally:
            watched.redis.thaw()
            connection.exec_driver_sql("ROLLBACK")


def test_a_process_that_stops_is_not_ready_from_the_signal_on_and_leaves_no_files(watched: Watched) -> None:
    watched.submit("watched.waits", "stops")
    watched.reached("stops")

    watched.lanes["default"].container.kill("SIGTERM")
    eventually("it is not ready", lambda: not watched.is_ready("default"))
    assert watched.lanes["default"].container.status == "running"
    watched.gates.open("stops")
    watched.lanes["data_sync"].container.kill("SIGTERM")
    for name, process in watched.others.items():
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, name
    lanes = watched.lanes.values()
    eventually("the workers have ended", lambda: all(lane.container.status != "running" for lane in lanes))
    assert [lane.stop() for lane in lanes] == [0, 0]  # No second signal, at which Celery would leave at once.

    assert not any(watched.is_ready(name) for name in BEATING)
    assert list(watched.folder.glob("celadon-metrics-*")) == []
