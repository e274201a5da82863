"""`celeryconfig.beat_schedule` in the ledger's words: Celery's own keys, and the platform's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celadon import plans
from celadon.due import rules
from celadon.errors import CeladonError, InvalidOption
from celadon.ledger.schedules import Entry
from celadon.queues import operators_file

OURS = ("timezone", "missed", "missed_max", "overlap", "jitter_s", "starts_at", "ends_at")
KEYS = ("task", "schedule", "kwargs", "options", *OURS)


def entries() -> list[Entry]:
    """What the configuration names. Raises CeladonError for an entry that can't be, with its name and the cure."""
    declared: Mapping[str, Mapping[str, Any]] = getattr(operators_file(), "beat_schedule", {})
    return [_entry(name, facts) for name, facts in declared.items()]


def generation() -> int:
    """Of the configuration: of two that differ, the higher one stands."""
    return int(getattr(operators_file(), "beat_generation", 1))


def _entry(name: str, facts: Mapping[str, Any]) -> Entry:
    def refuse(what: object) -> CeladonError:
        return CeladonError(f"beat_schedule[{name!r}]: {what}")

    if facts.get("args"):
        raise refuse("give the payload as kwargs, not as args")
    options = dict(facts.get("options") or {})
    queue = options.pop("queue", None)
    unknown = sorted(set(facts) - {*KEYS, "args"})
    if unknown:
        raise refuse(f"{', '.join(map(repr, unknown))} can't be kept; there are: {', '.join(KEYS)}")
    if options:
        raise refuse(f"of Celery's options only queue is kept, not {', '.join(sorted(options))}")
    if missing := [key for key in ("task", "schedule") if key not in facts]:
        raise refuse(f"{' and '.join(missing)} must be given")
    try:
        given = facts["schedule"]
        zone = facts.get("timezone")
        if zone is not None and not rules.is_crontab(given):
            raise InvalidOption(f"timezone={zone!r} is for a crontab: {given!r} does not go by a wall clock")
        ours = {key: facts[key] for key in OURS if key in facts and key != "timezone"}
        rule = rules.of(given, zone or plans.default_timezone())
        return plans.entry(name, facts["task"], rule, payload=facts.get("kwargs"), queue=queue, **ours)
    except InvalidOption as error:
        raise refuse(error) from error
