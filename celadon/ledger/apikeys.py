"""Keys of programs that ask over HTTP: what each may do, and whether a text is one of them.

Only the SHA-256 of a secret is stored. A secret has 256 random bits, so there is nothing to guess and a slow hash would
only make requests slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import or_, select, update

from celadon.deadline import Abandoned, within
from celadon.errors import InvalidOption, LedgerUnavailable, UnknownApiKey
from celadon.ids import new_id
from celadon.ledger.db import at, begin, reading
from celadon.ledger.tables import api_keys, audit
from celadon.registry import storable
from celadon.settings import settings

FRESH_S = 1.0  # How long a verified key is remembered: a revoked one stops within it, in every process.
USED_EVERY_S = 60.0  # `last_used_at` is for people who tidy up; a write per request would cost more than the request.
_SECRET_BYTES = 32
_FORM = re.compile(r"cel_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)


class Scope(StrEnum):
    """What a key allows."""

    PRODUCE = "produce"  # Submit jobs.
    READ = "read"  # See jobs, schedules, limits and pauses.
    OPERATE = "operate"  # Cancel, replay and reschedule jobs, and change the rest; with `read`, see payloads.


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key without its secret, which nobody has but its owner."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None  # To the minute.
    revoked_at: datetime | None


def create(name: str, scopes: Collection[str], *, actor: str = "operator") -> tuple[str, ApiKey]:
    """A new key: its text, which can't be had again, and what is known of it.

    name: whose it is, for people. Raises InvalidOption (no such scope, none at all, or a name that can't be stored),
    LedgerUnavailable.
    """
    if not storable(name):
        raise InvalidOption(f"name={name[:40]!r} has {len(name)} characters; 1 to 200 are allowed, none of them NUL")
    wrong = sorted(set(scopes) - set(Scope))
    if wrong or not scopes:
        raise InvalidOption(f"scopes={wrong or 'none'}: one or more of {', '.join(Scope)}")
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(_SECRET_BYTES)
    with begin() as connection:
        row = connection.execute(
            api_keys.insert()
            .values(id=key_id, name=name, scopes=sorted(set(scopes)), sha256=_sha256(secret), created_at=at())
            .returning(*api_keys.c)
        ).one()
        _note(connection, actor, "create key", key_id)
    return f"cel_{key_id}_{secret}", _seen(row)


def revoke(key_id: str, *, actor: str = "operator") -> ApiKey:
    """End a key: it stops within a second. Again is no error. Raises UnknownApiKey, LedgerUnavailable."""
    with begin() as connection:
        ended = connection.execute(
            update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at())
        ).rowcount
        if ended:
            _note(connection, actor, "revoke key", key_id)
        row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
    if row is None:
        raise UnknownApiKey(f"There is no API key {key_id[:40]!r}; `celadon keys list` shows their ids")
    return _seen(row)


def every() -> list[ApiKey]:
    """All keys, also the revoked, oldest first. Raises LedgerUnavailable."""
    with reading() as connection:
        return [_seen(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at))]


# Of keys that stand in the table, so that strangers can't make them grow: (the key, its secret's hash, until when it is
# taken for true), and when a use is written down again.
_verified: dict[str, tuple[ApiKey, str, float]] = {}
_write_after: dict[str, float] = {}


def verify(text: str) -> ApiKey | None:
    """The key that `text` is, or None if it is no key of ours or is revoked.

    It asks the ledger once a second for each key, and once a minute writes down that the key is in use. Raises
    LedgerUnavailable, within LEDGER_TIMEOUT_S.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    key_id, secret = form.groups()
    known = _verified.get(key_id)
    if known is None or time.monotonic() >= known[2]:
        known = _look_up(key_id)
    if known is None or not hmac.compare_digest(known[1], _sha256(secret)):
        return None
    _write_down(key_id)
    return known[0]


def _look_up(key_id: str) -> tuple[ApiKey, str, float] | None:
    until = time.monotonic() + FRESH_S  # From before the look, so that a slow answer is not remembered for longer.
    row = within(settings().ledger_timeout_s, lambda _: _row(key_id), job_id="")
    if row is None or row.revoked_at is not None:
        _verified.pop(key_id, None)
        return None
    known = _verified[key_id] = (_seen(row), row.sha256, until)
    return known


def _write_down(key_id: str) -> None:
    """Note that the key is in use, at most once a minute; a ledger that takes no writes now is no reason to refuse."""
    if time.monotonic() < _write_after.get(key_id, 0.0):
        return
    _write_after[key_id] = time.monotonic() + USED_EVERY_S
    with suppress(LedgerUnavailable):
        within(settings().ledger_timeout_s, lambda abandoned: _write_used(key_id, abandoned), job_id="")


def _row(key_id: str) -> Any:
    with reading() as connection:
        return connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()


def _write_used(key_id: str, abandoned: Abandoned) -> None:
    # Other processes write it too: only the first of a minute changes the row.
    stale = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < at(-USED_EVERY_S))
    with begin() as connection:
        connection.execute(update(api_keys).where(api_keys.c.id == key_id, stale).values(last_used_at=at()))
        abandoned.check()


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _seen(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(map(Scope, row.scopes)),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def _note(connection: Any, actor: str, action: str, key_id: str) -> None:
    connection.execute(audit.insert().values(id=new_id(), at=at(), actor=actor, action=action, subject=key_id))
