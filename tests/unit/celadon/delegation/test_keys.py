"""Signing keys are read from where an entry says, again when they change, and are never shown."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest

from celadon.delegation.entries import KeySource
from celadon.delegation.keys import keys_of
from celadon.errors import UnusableKeys

OLD, NEW = bytes(range(24)), bytes(range(100, 164))


def written(*keys: bytes, between: str = " ") -> str:
    return between.join("whsec_" + b64encode(key).decode() for key in keys)


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> KeySource:
    monkeypatch.setenv("MAIL_SIGNING_KEYS", written(OLD))
    return KeySource(env="MAIL_SIGNING_KEYS")


def test_an_entry_without_keys_has_none() -> None:
    assert keys_of(None) == ()


@pytest.mark.parametrize("between", [" ", "\n", ",", " , \n"])
def test_one_key_or_two_are_read_in_their_order(variable, monkeypatch, between) -> None:
    assert keys_of(variable) == (OLD,)

    monkeypatch.setenv("MAIL_SIGNING_KEYS", written(NEW, OLD, between=between) + "\n")

    assert keys_of(variable) == (NEW, OLD)


def test_a_rotation_in_a_file_is_seen_at_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "mail"
    source = KeySource(file=str(file))
    seen = []
    for step in ((OLD,), (NEW, OLD), (NEW,)):
        fresh = tmp_path / "fresh"
        fresh.write_text(written(*step, between="\n"))
        os.replace(fresh, file)
        seen.append(keys_of(source))

    assert seen == [(OLD,), (NEW, OLD), (NEW,)]


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mail"
    file.write_text(written(OLD))
    source = KeySource(file=str(file))
    first = keys_of(source)
    monkeypatch.setattr("celadon.delegation.keys._parse", lambda *_: pytest.fail("it was read again"))

    assert keys_of(source) is first


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the variable MAIL_SIGNING_KEYS holds no keys; one or two are meant"),
        (written(OLD, OLD, NEW), "holds 3 keys"),
        ("c2VjcmV0" * 4, "key 1 of the variable MAIL_SIGNING_KEYS does not begin with `whsec_`"),
        (written(OLD) + " whsec_c2Vjc!!", "key 2 of the variable MAIL_SIGNING_KEYS is no base64"),
        (written(OLD)[:-1], "is no base64 after `whsec_`; was it cut"),
        (written(b"secret"), "has 6 bytes; 24 to 64 are allowed"),
        (written(bytes(65)), "has 65 bytes"),
        ("whsec_\u00e4", "is no base64"),
    ],
)
def test_what_is_no_key_is_told_without_showing_it(variable, monkeypatch, text, told) -> None:
    monkeypatch.setenv("MAIL_SIGNING_KEYS", text)

    with pytest.raises(UnusableKeys, match=told) as refused:
        keys_of(variable)

    assert "c2Vj" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_variable_that_is_not_set_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableKeys, match="the variable NO_SUCH_KEYS is not set; give it one or two keys"):
        keys_of(KeySource(env="NO_SUCH_KEYS"))
    with pytest.raises(UnusableKeys, match=r"the file .*/none can't be read: No such file"):
        keys_of(KeySource(file=str(tmp_path / "none")))
