"""Schedules over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, abort, jsonify, url_for

from celadon import schedules
from celadon.errors import UnknownJob
from celadon.jobs import as_plain
from celadon.ledger.apikeys import Scope
from celadon.schedules import ScheduleView
from web.api import callers
from web.api.callers import actor
from web.api.steering_models import ChangedSchedule, NewSchedule, PreviewQuery, ScheduleQuery, Why
from web.problems import problem


def every() -> Response:
    """List schedules

    All of them, by name: of the configuration, and added at run time.
    """
    return jsonify({"schedules": [each.as_dict() for each in schedules.every()]})


def add(body: NewSchedule) -> Response:
    """Make a schedule

    By one of `crontab`, `every_s` and `at`. Each of its due times makes one job, however many schedulers run.
    """
    with _job_is_named():
        view = schedules.add(**body.options(), actor=actor())
    answer = _told(view)
    answer.status_code, answer.location = 201, url_for("api.schedule", name=view.name)
    return answer


def one(name: str, query: ScheduleQuery) -> Response:
    """Show a schedule

    When it is due next, its policies, and the job that it fired last.
    """
    view = schedules.find(name)
    if not query.include:
        return _told(view)
    callers.demand(Scope.OPERATE)
    return jsonify({**view.as_dict(), "payload": dict(view.payload)})


def edit(name: str, body: ChangedSchedule) -> Response:
    """Change a schedule

    What is not named stays. With another rule, beginning or end it counts from now on. What `celeryconfig` names is
    changed there.
    """
    with _job_is_named():
        return _told(schedules.edit(name, **body.options(), actor=actor()))


def remove(name: str) -> Response:
    """Remove a schedule

    Answers it as it was. Jobs that it fired stay. What `celeryconfig` names is removed there.
    """
    view = schedules.find(name)
    schedules.remove(name, actor=actor())
    return _told(view)


def pause(name: str, body: Why) -> Response:
    """Pause a schedule

    It fires nothing until it is resumed. Again is no error: the reason is then the new one.
    """
    return _told(schedules.pause(name, reason=body.reason, actor=actor()))


def resume(name: str) -> Response:
    """Resume a schedule

    It goes on with its next due time; what came due during the pause was not missed.
    """
    return _told(schedules.resume(name, actor=actor()))


def run_now(name: str) -> Response:
    """Run a schedule's job now

    Once, beside its due times, also when it is paused or has ended.
    """
    job_id = schedules.run_now(name, actor=actor())
    href = url_for("api.job", job_id=job_id)
    answer = jsonify({"job_id": job_id, "href": href})
    answer.status_code, answer.location = 202, href
    return answer


def preview(name: str, query: PreviewQuery) -> Response:
    """Preview a schedule

    Its next due times, without jitter; of a paused one those that it would have if it were resumed now.
    """
    zone = ZoneInfo(schedules.find(name).rule.get("timezone") or "UTC")
    due = schedules.preview(name, query.count)
    return jsonify({"due": [{"at": as_plain(each), "local": as_plain(each.astimezone(zone))} for each in due]})


def _told(view: ScheduleView) -> Response:
    return jsonify(view.as_dict())


@contextmanager
def _job_is_named() -> Iterator[None]:
    """The field of a job that is not declared is `job` here."""
    try:
        yield
    except UnknownJob as error:
        told: list[dict[str, Any]] = [{"field": "job", "message": str(error)}]
        abort(problem(422, str(error), "unknown-job", errors=told))
