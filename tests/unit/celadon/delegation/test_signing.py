"""Signatures are those of the Standard Webhooks specification."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta, timezone

from celadon.delegation.signing import headers

# The vector that the specification's own libraries are tested with.
KEY = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_reference_vector_is_met() -> None:
    assert headers(ID, BODY, [KEY], AT) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_each_of_two_keys_signs_and_the_first_is_the_first() -> None:
    other = bytes(range(32))
    signed = f"{ID}.1614265330.".encode() + BODY
    second = b64encode(hmac.new(other, signed, "sha256").digest()).decode()

    assert headers(ID, BODY, [KEY, other], AT)["webhook-signature"] == f"{SIGNATURE} v1,{second}"


def test_the_time_is_the_instant_whatever_its_zone_and_fraction() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-9))) + timedelta(milliseconds=999)

    assert headers(ID, BODY, [KEY], elsewhere) == headers(ID, BODY, [KEY], AT)


def test_what_has_no_body_is_signed_too() -> None:
    assert headers(ID, b"", [KEY], AT)["webhook-signature"] != SIGNATURE


def test_without_keys_nothing_is_said() -> None:
    assert headers(ID, BODY, [], AT) == {}
