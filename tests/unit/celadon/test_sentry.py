"""Starting to tell Sentry, or not. (What is told by real processes: tests/live/test_watching.py.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from celadon import sentry
from tests import forked
from tests.eventually import eventually
from tests.servers import SentrySink

WITHOUT_THE_PACKAGE = "import sys; sys.modules['sentry_sdk'] = None\n"
START = "from celadon import logs, sentry\nlogs.configure()\nsentry.start('worker')\n"
SECRET = "a-word-that-may-not-leave"


def run(program: str, dsn: str, **settings: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "SENTRY_DSN": dsn, "LOG_FORMAT": "json", **settings}
    return forked.run([sys.executable, "-c", program], env=told, cwd=Path.cwd(), timeout=30)


def test_without_a_dsn_the_package_is_not_even_looked_for() -> None:
    done = run(f"{WITHOUT_THE_PACKAGE}{START}assert not sentry.is_on()\nsentry.flush()", "")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("before", "dsn", "told"),
    [
        (WITHOUT_THE_PACKAGE, "http://public@127.0.0.1:9/1", "sentry-sdk is not installed; install celadon[sentry]"),
        ("", "https://sentry.example/1", "SENTRY_DSN can't be used"),
        ("", "not a dsn", "SENTRY_DSN can't be used"),
    ],
)
def test_a_dsn_that_can_not_be_served_ends_the_start_in_words(before: str, dsn: str, told: str) -> None:
    done = run(f"{before}{START}", dsn)

    assert done.returncode == 1
    assert "CeladonError" in done.stderr
    assert told in done.stderr


ERRORS = f"""
import logging, os, sys
{START}
def fail(argument):
    local = argument
    raise ValueError("it fails")

log = logs.get("unit.ours")
try:
    fail("{SECRET}")
except ValueError:
    log.exception("unit.failed", job_id="j1", fact=7)
log.warning("unit.warned")
logging.getLogger("unit.library").error("it says %s", "{SECRET}")
if os.fork() == 0:
    log.error("unit.child")
    sentry.flush()
    os._exit(0)
os.wait()
"""


def test_what_is_logged_as_an_error_is_told_by_a_process_and_its_forks() -> None:
    sink = SentrySink()
    sink.start()
    try:
        done = run(ERRORS, sink.dsn)
        assert done.returncode == 0, done.stderr
        eventually("three are told", lambda: len(sink.events()) == 3)
    finally:
        sink.stop()

    (failed,) = sink.events(job_id="j1")
    assert failed["exception"]["values"][0]["value"] == "it fails"
    assert failed["contexts"]["log"]["fact"] == 7
    (library,) = sink.events(logger="unit.library")
    assert library["message"] == "it says %s"
    assert [event["message"] for event in sink.events(logger="unit.ours") if "message" in event] == ["unit.child"]
    assert SECRET.encode() not in sink.raw


ENDS = f"""
import os
{START}
from celery import signals
from celadon.queues import lane
from celadon.worker import post, steps
post.take(lane("data_sync"))
steps.prepare()
logs.get("unit.ours").error("unit.last")
signals.worker_process_shutdown.send(sender=None)
os._exit(0)
"""


def test_a_child_of_a_pool_tells_what_it_has_to_before_it_ends() -> None:
    sink = SentrySink()
    sink.start()
    try:
        done = run(ENDS, sink.dsn)
        assert done.returncode == 0, done.stderr
    finally:
        sink.stop()

    assert [event["message"] for event in sink.events()] == ["unit.last"]


def test_an_event_loses_its_request_and_keeps_what_the_application_itself_told() -> None:
    told = {"message": "m", "extra": {"own": "word"}}

    assert sentry._scrubbed({**told, "request": {"url": "u", "headers": {}}}, {}) == told
