"""Commands for the keys of programs."""

from __future__ import annotations

import pytest

from celadon.ledger import apikeys
from tests.unit.celadon.cli.given import celadon, refused


@pytest.mark.usefixtures("ledger")
def test_a_key_is_printed_alone_then_listed_without_its_secret_and_revoked():
    text = celadon("keys", "create", "the shop", "--scope", "read", "--scope", "produce").output

    key = apikeys.verify(text.removesuffix("\n"))
    assert key is not None
    assert celadon("keys", "list").output.startswith(f"{key.id}  produce,read  the shop  used 20")
    assert celadon("keys", "revoke", key.id).output == f"{key.id}: revoked\n"
    listed = celadon("keys", "list").output
    assert "  revoked 20" in listed
    assert text.split("_", 2)[2].strip() not in listed


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "x", "--scope", "write"), "Error: scopes=['write']: one or more of produce, read, operate"),
        (("create", "x"), "Missing option '--scope'"),
        (("revoke", "nobody"), "Error: There is no API key 'nobody'"),
    ],
)
def test_a_key_that_can_not_be_is_told_in_one_sentence(words, told):
    assert told in refused("keys", *words)
