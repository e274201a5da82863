"""The operator's file of the test under a fast clock: the live tests' own, with schedules of several zones."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

from tests.live import celeryconfig as live

globals().update({name: value for name, value in vars(live).items() if not name.startswith("_")})

_each: dict[str, Any] = {"task": "live.deferred", "missed": "all", "missed_max": 50}


def _schedule(name: str, when: Any, **more: Any) -> dict[str, Any]:
    return {**_each, "schedule": when, "kwargs": {"name": name}, **more}


beat_schedule = {
    "interval": _schedule("interval", 1200),
    "in-utc": _schedule("in-utc", crontab(minute="*/30")),
    "every-hour": _schedule("every-hour", crontab(minute="15,45"), timezone="Europe/Berlin"),
    "by-the-wall": _schedule("by-the-wall", crontab(minute="*/20", hour="0-5"), timezone="Europe/Berlin"),
    "in-the-night": _schedule("in-the-night", crontab(minute="30", hour="2"), timezone="Europe/Berlin"),
}
