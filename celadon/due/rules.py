"""Rules as people write them, in the JSON form that a schedule keeps. What can't be meant is refused in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo, available_timezones

from celery.schedules import crontab, schedule

from celadon.due.crontabs import parsed
from celadon.errors import InvalidOption
from celadon.times import LONGEST_S, instant

FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")  # In the order of a crontab's text.
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_VALUES = {
    "minute": "0-59",
    "hour": "0-23",
    "day_of_month": "1-31",
    "month_of_year": "1-12 or jan-dec",
    "day_of_week": "0-6 or sun-sat, Sunday being 0",
}
_NAMES = {"month_of_year": _MONTHS, "day_of_week": _WEEKDAYS}
# A star, a number or a range; a step only where there is something to step through. Celery itself reads `1-2-3` as 1-2
# and `*/2/3` as */2.
_PART = re.compile(r"(?:\*|(\w+)-(\w+))(?:/([1-9]\d*))?|(\w+)", re.ASCII)


def from_text(text: str, timezone: str | None = None) -> dict[str, Any]:
    """A rule from "minute hour day-of-month month day-of-week". Raises InvalidOption."""
    words = text.split() if isinstance(text, str) else []
    if len(words) != len(FIELDS):
        raise InvalidOption(
            f"crontab={text!r} has {len(words)} fields; five are wanted: minute, hour, day of month, month, day of "
            'week, for example "30 6 * * mon-fri"',
            option="crontab",
        )
    return from_fields(dict(zip(FIELDS, words, strict=True)), timezone)


def from_fields(fields: Mapping[str, str], timezone: str | None = None) -> dict[str, Any]:
    """A rule from a crontab's fields. Raises InvalidOption."""
    for field, text in fields.items():
        _check_field(field, text)
    rule: dict[str, Any] = {"crontab": dict(fields)}
    if zone(timezone) != "UTC":
        rule["timezone"] = timezone
    try:
        parsed(rule)
    except (ValueError, TypeError) as error:
        raise InvalidOption(
            f"crontab={_text(fields)!r} never comes: no month {fields['month_of_year']!r} has a day "
            f"{fields['day_of_month']!r}",
            option="crontab",
        ) from error
    return rule


def every(interval: timedelta | float) -> dict[str, Any]:
    """A rule from an interval of at least a second, kept to the millisecond. Raises InvalidOption."""
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST_S:
        raise InvalidOption(f"every={interval!r}: from 1 s to ten years are allowed", option="every")
    return {"every_s": round(float(seconds), 3)}


def once(at: datetime) -> dict[str, Any]:
    """A rule for one time, kept to the millisecond. Raises InvalidOption."""
    if not isinstance(at, datetime):
        raise InvalidOption(f"at={at!r} is no time; give an aware datetime, for example in UTC", option="at")
    when = instant("at", at)
    assert when is not None
    return {"at": when.astimezone(UTC).isoformat(timespec="milliseconds")}


def of(given: Any, timezone: str | None = None) -> dict[str, Any]:
    """A rule from what `beat_schedule` may say: crontab(…), a timedelta, seconds, or a time. Raises InvalidOption."""
    if is_crontab(given):
        return from_fields({field: _field_text(given, field) for field in FIELDS}, timezone)
    if isinstance(given, datetime):
        return once(given)
    if isinstance(given, schedule):
        if getattr(given, "relative", False):
            raise InvalidOption("schedule(relative=True): intervals are counted from 1970; leave `relative` out")
        given = getattr(given, "run_every", given)
    try:
        return every(given)
    except InvalidOption as error:
        raise InvalidOption(
            f"{given!r} is no crontab(…), no interval from 1 s to ten years, and no time", option="schedule"
        ) from error


def is_crontab(given: object) -> TypeGuard[crontab]:
    """Whether it is Celery's crontab(…)."""
    return isinstance(given, crontab)


def zone(name: str | None) -> str:
    """The name of a time zone, `UTC` for None. Raises InvalidOption."""
    if name is None or name == "UTC":
        return "UTC"
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        near = difflib.get_close_matches(str(name), available_timezones(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "give an IANA name, for example 'Europe/Berlin'"
        raise InvalidOption(f"timezone={name!r} is not known; {hint}", option="timezone") from error
    return name


def in_words(rule: Mapping[str, Any]) -> str:
    """A rule as a line of a list shows it."""
    if "every_s" in rule:
        return f"every {rule['every_s']:.12g} s"
    if "at" in rule:
        return f"once at {datetime.fromisoformat(rule['at']):%Y-%m-%d %H:%M:%S} UTC"
    return f"{_text(rule['crontab'])} {rule.get('timezone', 'UTC')}"


def _text(fields: Mapping[str, str]) -> str:
    return " ".join(fields[field] for field in FIELDS)


def _field_text(given: crontab, field: str) -> str:
    """A field as it was written; a list or set in the form of a text."""
    written = getattr(given, f"_orig_{field}")
    if isinstance(written, (int, str)):
        return "".join(str(written).split())
    numbers: Iterable[int] = getattr(given, field)
    return ",".join(map(str, sorted(numbers)))


def _check_field(field: str, text: str) -> None:
    def refuse(why: str, *, of: BaseException | None = None) -> InvalidOption:
        return InvalidOption(
            f"crontab: {field}={text!r}: {why}; it takes {_VALUES[field]}, `*`, ranges (`1-5`), steps of those "
            "(`*/15`, `10-40/5`), and lists of all that (`1,5-9`)",
            option="crontab",
        )

    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise refuse(f"{part!r} can't be read")
        for value in (match[1], match[2], match[4]):
            if value is not None and not value.isdigit() and not _is_name(value, field):
                raise refuse(f"{value!r} is no value of this field")
    try:
        crontab(**{field: text})
    except (ValueError, TypeError) as error:
        raise refuse(str(error).rstrip(".")) from error


def _is_name(value: str, field: str) -> bool:
    """Whether it is a month's or weekday's name, or three letters of it or more. (Celery reads the first three.)"""
    return len(value) >= 3 and any(name.startswith(value.lower()) for name in _NAMES.get(field, ()))
