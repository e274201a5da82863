"""Logs: a constant event name plus fields, in the form that the settings ask for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests import forked

CONFIGURED = """
import logging
from celadon import logs
logs.configure()
import structlog
structlog.contextvars.bind_contextvars(job_id="j1", attempt=2)
logs.get("celadon.test").info("job.started", engine="worker")
logs.get("celadon.test").debug("job.detail")
logging.getLogger("some.library").warning("it says %s", "this")
try:
    1 / 0
except ZeroDivisionError as error:
    logs.get("celadon.test").error("job.failed", exc_info=error)
"""
UNCONFIGURED = """
from celadon import logs
logs.get("celadon.test").info("job.started")
logs.get("celadon.test").warning("job.late", job_id="j1")
"""


def printed(program: str, **settings: str) -> tuple[str, str]:
    """What a process of its own prints to standard output and to standard error."""
    done = forked.run([sys.executable, "-c", program], env={**os.environ, **settings}, cwd=Path.cwd(), timeout=30)
    done.check_returncode()
    return done.stdout, done.stderr


def test_as_json_each_line_is_an_event_with_its_fields():
    out, err = printed(CONFIGURED, LOG_FORMAT="json", LOG_LEVEL="INFO")

    assert out == ""
    started, library, failed = map(json.loads, err.splitlines())
    assert (started["event"], started["level"], started["logger"]) == ("job.started", "info", "celadon.test")
    assert (started["engine"], started["job_id"], started["attempt"]) == ("worker", "j1", 2)
    assert started["timestamp"].endswith("Z")
    assert (library["event"], library["logger"], library["job_id"]) == ("it says this", "some.library", "j1")
    assert "ZeroDivisionError" in failed["exception"]


def test_on_a_console_it_is_readable_and_without_colours_when_it_goes_to_a_file():
    _, err = printed(CONFIGURED, LOG_FORMAT="console", LOG_LEVEL="DEBUG")

    assert "job.started" in err
    assert "job.detail" in err
    assert "engine=worker" in err
    assert "\x1b[" not in err


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_local_variables(form):
    # Here Rich is installed, whose tracebacks would show them.
    program = "import rich\n" + CONFIGURED.replace("1 / 0", "local = 'a-local-value'[0:]; 1 / 0")

    _, err = printed(program, LOG_FORMAT=form)

    assert "ZeroDivisionError" in err
    assert err.count("a-local-value") == err.count("local = 'a-local-value'[0:]")


def test_celery_and_warnings_go_the_same_way_and_only_once():
    program = """
import logging, warnings
from celadon import logs
logs.configure()
from celery import Celery
app = Celery("unit")
app.log.setup(loglevel="INFO")
logging.getLogger("celery.worker").warning("from celery")
logging.getLogger("celery.task").warning("from a task")
from billiard.util import error
error("from the pool")
warnings.warn("from a library")
"""
    _, err = printed(program, LOG_FORMAT="json")

    told = [json.loads(line)["event"] for line in err.splitlines()]
    assert told[:3] == ["from celery", "from a task", "from the pool"]
    assert len(told) == 4
    assert "UserWarning: from a library" in told[3]


def test_the_least_level_is_a_setting():
    _, err = printed(CONFIGURED, LOG_FORMAT="json", LOG_LEVEL="ERROR")

    assert [json.loads(line)["event"] for line in err.splitlines()] == ["job.failed"]


def test_a_process_that_sets_up_no_logging_of_ours_hears_of_warnings_alone_and_on_standard_error():
    out, err = printed(UNCONFIGURED)

    assert out == ""
    assert "job.started" not in err
    assert "job.late" in err
    assert "j1" in err


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_a_host_applications_own_levels_are_heeded(level):
    _, err = printed(f"import logging\nlogging.basicConfig(level='{level}')\n{UNCONFIGURED}")

    assert ("job.started" in err) is (level == "INFO")


def test_an_application_that_only_submits_keeps_its_own_structlog():
    program = f"""
import structlog
{UNCONFIGURED}
structlog.get_logger("host").info("from the host")
structlog.configure(processors=[structlog.processors.JSONRenderer()])
logs.get("celadon.test").info("job.submitted")
"""
    out, err = printed(program)

    assert "from the host" in out
    assert "job.late" in err
    # What it sets up later holds for our lines too.
    assert '{"event": "job.submitted"}' in out
