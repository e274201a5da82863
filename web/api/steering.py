"""The part of the API's table that is about schedules, limits and pauses."""

from __future__ import annotations

from celadon.ledger.apikeys import Scope
from celadon.ledger.limits import Gate
from celadon.schedules import ScheduleView
from web.api import gates, schedules
from web.api.route import LOCATION, Route
from web.api.steering_models import (
    ChangedSchedule,
    Fired,
    Limits,
    NewPause,
    NewSchedule,
    Pauses,
    Preview,
    PreviewQuery,
    Rules,
    ScheduleQuery,
    Schedules,
    Why,
)

SCHEDULE = "/schedules/<schedule:name>"
LIMIT, PAUSE = "/limits/<kind:kind>/<named:name>", "/pauses/<kind:kind>/<named:name>"

STEERING = (
    Route(
        method="GET",
        rule="/schedules",
        name="schedules",
        view=schedules.every,
        scope=Scope.READ,
        answer=Schedules,
    ),
    Route(
        method="POST",
        rule="/schedules",
        name="add_schedule",
        view=schedules.add,
        scope=Scope.OPERATE,
        body=NewSchedule,
        status=201,
        answer=ScheduleView,
        headers=LOCATION,
        problems=(409,),
    ),
    Route(
        method="GET",
        rule=SCHEDULE,
        name="schedule",
        view=schedules.one,
        scope=Scope.READ,
        query=ScheduleQuery,
        answer=ScheduleView,
    ),
    Route(
        method="PATCH",
        rule=SCHEDULE,
        name="edit_schedule",
        view=schedules.edit,
        scope=Scope.OPERATE,
        body=ChangedSchedule,
        answer=ScheduleView,
        problems=(409,),
    ),
    Route(
        method="DELETE",
        rule=SCHEDULE,
        name="remove_schedule",
        view=schedules.remove,
        scope=Scope.OPERATE,
        answer=ScheduleView,
        problems=(409,),
    ),
    Route(
        method="POST",
        rule=f"{SCHEDULE}/pause",
        name="pause_schedule",
        view=schedules.pause,
        scope=Scope.OPERATE,
        body=Why,
        answer=ScheduleView,
    ),
    Route(
        method="POST",
        rule=f"{SCHEDULE}/resume",
        name="resume_schedule",
        view=schedules.resume,
        scope=Scope.OPERATE,
        answer=ScheduleView,
    ),
    Route(
        method="POST",
        rule=f"{SCHEDULE}/run-now",
        name="run_schedule_now",
        view=schedules.run_now,
        scope=Scope.OPERATE,
        status=202,
        answer=Fired,
        headers=LOCATION,
        problems=(409,),
    ),
    Route(
        method="GET",
        rule=f"{SCHEDULE}/preview",
        name="preview_schedule",
        view=schedules.preview,
        scope=Scope.READ,
        query=PreviewQuery,
        answer=Preview,
    ),
    Route(method="GET", rule="/limits", name="limits", view=gates.limited, scope=Scope.READ, answer=Limits),
    Route(
        method="PUT",
        rule=LIMIT,
        name="limit",
        view=gates.limit,
        scope=Scope.OPERATE,
        body=Rules,
        answer=Gate,
    ),
    Route(method="DELETE", rule=LIMIT, name="reset_limit", view=gates.reset, scope=Scope.OPERATE, answer=Gate),
    Route(method="GET", rule="/pauses", name="pauses", view=gates.paused, scope=Scope.READ, answer=Pauses),
    Route(
        method="PUT",
        rule=PAUSE,
        name="pause",
        view=gates.pause,
        scope=Scope.OPERATE,
        body=NewPause,
        answer=Gate,
    ),
    Route(method="DELETE", rule=PAUSE, name="resume", view=gates.resume, scope=Scope.OPERATE, answer=Gate),
)
