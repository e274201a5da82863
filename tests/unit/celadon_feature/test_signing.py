"""Signatures: those of the specification, two keys at once, age, and everything that was tampered with."""

from __future__ import annotations

import base64

import pytest

from celadon_feature import new_key
from celadon_feature.answers import Refused
from celadon_feature.signing import parsed_keys, signature, verify
from celadon_feature.testing import signed

KEY = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER = new_key()
BODY = b'{"jobId": "job-1"}'
AT = 1_800_000_000


def verified(headers: dict[str, str], body: bytes = BODY, keys: str = KEY, now: float = AT) -> str:
    return verify(headers, body, parsed_keys(keys), now=now, max_age_s=300)


def test_a_signature_is_the_one_that_the_specifications_own_library_makes() -> None:
    [key] = parsed_keys(KEY)
    made = signature(key, "job-1", str(AT), '{"grüße": 1}'.encode())
    assert made == "v1,nlFmQqyqjaSm++qDqYwnanJo0RBVh9qjGbxrzEReWrw="


def test_what_was_signed_is_taken_and_tells_its_id() -> None:
    assert verified(signed("job-1", BODY, keys=KEY, at=AT)) == "job-1"


@pytest.mark.parametrize(
    ("signs", "knows"),
    [(KEY, f"{OTHER} {KEY}"), (f"{OTHER} {KEY}", KEY), (f"{OTHER},{KEY}", f"{KEY}\n{OTHER}\n")],
    ids=["the receiver knows the new one already", "the sender signs with both", "both know both"],
)
def test_a_key_is_replaced_while_deliveries_go_on(signs: str, knows: str) -> None:
    assert verified(signed("job-1", BODY, keys=signs, at=AT), keys=knows) == "job-1"


def test_another_key_is_refused() -> None:
    with pytest.raises(Refused, match="another key"):
        verified(signed("job-1", BODY, keys=OTHER, at=AT))


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "job-2"},
        {"webhook-timestamp": str(AT + 1)},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,ÿ"},
        {"webhook-id": ""},
        {"webhook-signature": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "١٨٠٠٠٠٠٠٠٠"},
        {"webhook-timestamp": f"+{AT}"},
        {"webhook-timestamp": "9" * 5000},
    ],
)
def test_a_header_that_was_changed_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        verified({**signed("job-1", BODY, keys=KEY, at=AT), **changed})
    assert refused.value.status == 401


def test_a_signature_of_another_version_is_none() -> None:
    headers = signed("job-1", BODY, keys=KEY, at=AT)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(Refused, match="No signature fits"):
        verified(headers)


def test_a_body_that_was_changed_is_refused() -> None:
    with pytest.raises(Refused, match="changed on its way"):
        verified(signed("job-1", BODY, keys=KEY, at=AT), BODY + b" ")


@pytest.mark.parametrize(("now", "told"), [(AT + 300, "300 s ago"), (AT - 300, "300 s ahead"), (AT + 10**6, "ago")])
def test_what_was_signed_too_long_ago_or_ahead_is_refused_with_its_age(now: float, told: str) -> None:
    with pytest.raises(Refused, match=told) as refused:
        verified(signed("job-1", BODY, keys=KEY, at=AT), now=now)
    assert refused.value.status == 401


@pytest.mark.parametrize("now", [AT + 299, AT - 299])
def test_a_clock_that_is_wrong_by_less_does_no_harm(now: float) -> None:
    assert verified(signed("job-1", BODY, keys=KEY, at=AT), now=now) == "job-1"


def test_a_new_key_is_one_and_no_other() -> None:
    made = {new_key() for _ in range(10)}
    assert len(made) == 10
    assert all(len(parsed_keys(key)[0]) == 32 for key in made)


SHORT = "whsec_" + base64.b64encode(b"x" * 23).decode()
LONG = "whsec_" + base64.b64encode(b"x" * 65).decode()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", "0 signing keys"),
        (f"{KEY} {KEY} {KEY}", "3 signing keys"),
        (f"{KEY} c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "signing key 2 does not begin with whsec_"),
        ("whsec_c2Vj*cmV0", "signing key 1 has no base64"),
        (SHORT, "23 bytes; 24 to 64"),
        (LONG, "65 bytes; 24 to 64"),
    ],
)
def test_what_is_no_key_is_refused_without_telling_it(keys: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        parsed_keys(keys)
    assert "c2Vj" not in str(refused.value)
