"""Keys of programs that ask over HTTP: made, verified, revoked, and nowhere to be read."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import event, select

from celadon.errors import InvalidOption, UnknownApiKey
from celadon.ledger import apikeys
from celadon.ledger.apikeys import Scope, create, every, revoke, verify
from celadon.ledger.db import begin, engine, reading
from celadon.ledger.tables import api_keys, audit
from tests.contract.given import count
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")


def test_a_key_is_verified_and_says_what_it_may():
    text, made = create("shop", ["read", "produce"])

    key = verify(text)

    assert key is not None
    assert (key.id, key.name, key.scopes) == (made.id, "shop", {Scope.READ, Scope.PRODUCE})
    assert text.startswith(f"cel_{made.id}_")


def test_the_ledger_does_not_hold_the_secret():
    text, made = create("shop", ["read"])
    secret = text.removeprefix(f"cel_{made.id}_")

    with reading() as connection:
        rows = [*connection.execute(select(api_keys)), *connection.execute(select(audit))]

    assert secret not in repr(rows) + repr(made)
    assert len(secret) == 43  # 32 random bytes.


CHANGED = {
    "another secret": lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
    "another id": lambda text: text[:4] + "0" * 16 + text[20:],
    "longer": lambda text: text + "A",
    "upper case": lambda text: text.upper(),
    "a space before": lambda text: f" {text}",
    "a line's end": lambda text: f"{text}\n",
    "nothing": lambda text: "",
    "no parts": lambda text: "cel__",
    "NUL": lambda text: text[:21] + "\x00" * 43,
    "not ASCII": lambda text: text[:21] + "ü" * 43,
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_what_is_no_key_is_none(change):
    text, _ = create("shop", ["read"])
    assert verify(text) is not None

    assert verify(change(text)) is None


def test_a_revoked_key_stops_within_a_second_and_its_row_stays():
    text, made = create("shop", ["read"])
    assert verify(text) is not None

    began = time.monotonic()
    revoke(made.id, actor="ada")
    again = revoke(made.id, actor="bob")

    eventually("the key stops", lambda: verify(text) is None, within=apikeys.FRESH_S + 0.3)
    assert time.monotonic() - began < apikeys.FRESH_S + 0.3
    assert [(key.id, key.revoked_at is not None) for key in every()] == [(made.id, True)]
    # A second revocation changes nothing, and is nothing to write down.
    assert again.revoked_at == every()[0].revoked_at
    assert count(audit) == 2


def test_a_known_key_costs_the_ledger_one_look_a_second():
    text, _ = create("shop", ["read"])
    verify(text)  # The first use is written down.
    asked = []
    event.listen(engine(), "before_cursor_execute", lambda *args: asked.append(args[2]))

    for _ in range(100):
        assert verify(text) is not None

    assert len(asked) <= 1


def test_its_use_is_written_down_at_most_once_a_minute(monkeypatch):
    text, made = create("shop", ["read"])
    assert made.last_used_at is None

    verify(text)
    first = every()[0].last_used_at
    assert first is not None
    # Another process, which does not know that this one wrote, changes nothing either.
    monkeypatch.setattr(apikeys, "_write_after", {})
    verify(text)
    assert every()[0].last_used_at == first


def test_a_ledger_that_takes_no_writes_now_verifies_all_the_same(monkeypatch, database):
    if not database.startswith("sqlite"):
        return
    text, _ = create("shop", ["read"])

    with begin():  # Holds the one write lock.
        assert verify(text) is not None

    assert every()[0].last_used_at is None


@pytest.mark.parametrize(
    ("name", "scopes", "told"),
    [
        ("shop", [], "scopes=none: one or more of produce, read, operate"),
        ("shop", ["read", "write"], r"scopes=\['write'\]: one or more of"),
        ("", ["read"], "name='' has 0 characters"),
        ("x" * 201, ["read"], "has 201 characters"),
        ("a\x00", ["read"], "none of them NUL"),
    ],
)
def test_a_key_that_could_not_be_used_is_not_made(name, scopes, told):
    with pytest.raises(InvalidOption, match=told):
        create(name, scopes)

    assert every() == []


def test_there_is_nothing_to_revoke_of_an_unknown_key():
    with pytest.raises(UnknownApiKey, match=r"no API key 'nobody'; `celadon keys list` shows their ids"):
        revoke("nobody")

    assert count(audit) == 0
