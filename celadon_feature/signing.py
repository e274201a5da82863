"""Signatures by the Standard Webhooks specification (symmetric, `v1`): who sent it, that it is unchanged, and when."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence

from celadon_feature.answers import Refused

PREFIX = "whsec_"
MAX_AGE_S = 300.0  # What was signed longer ago may have been caught on its way and sent again.
_KEY_BYTES = (24, 64)  # By the specification.
_MOST_KEYS = 2
_NEEDED = ("webhook-id", "webhook-timestamp", "webhook-signature")


def new_key() -> str:
    """A new signing key, `whsec_…`: 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def parsed_keys(keys: str | Iterable[str]) -> tuple[bytes, ...]:
    """One or two keys as bytes. A text is split at spaces, line ends and commas.

    Raises ValueError, which tells which key it is about and never the key.
    """
    told = keys.replace(",", " ").split() if isinstance(keys, str) else list(keys)
    if not 1 <= len(told) <= _MOST_KEYS:
        raise ValueError(f"{len(told)} signing keys were given; give one, or two while one replaces the other")
    return tuple(_parsed(number, key.strip()) for number, key in enumerate(told, 1))


def _parsed(number: int, key: str) -> bytes:
    if not key.startswith(PREFIX):
        raise ValueError(f"signing key {number} does not begin with {PREFIX}; `celadon_feature.new_key()` makes one")
    try:
        made = base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"signing key {number} has no base64 behind {PREFIX}") from None
    least, most = _KEY_BYTES
    if not least <= len(made) <= most:
        raise ValueError(f"signing key {number} has {len(made)} bytes; {least} to {most} are allowed")
    return made


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,…` for one key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def verify(headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], *, now: float, max_age_s: float) -> str:
    """The id of a message that one of `keys` has signed. headers: by names in small letters.

    Raises Refused (401): not signed by any of the keys, or `max_age_s` seconds or more before or after `now`.
    """
    message_id, timestamp, told = (headers.get(name, "") for name in _NEEDED)
    if not (message_id and timestamp and told):
        raise Refused(401, f"Not signed: the headers {', '.join(_NEEDED)} are needed")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16):
        raise Refused(401, f"webhook-timestamp: {timestamp[:40]!r} are no seconds since 1970")
    age_s = now - int(timestamp)
    if abs(age_s) >= max_age_s:
        when = f"{age_s:.0f} s ago" if age_s > 0 else f"{-age_s:.0f} s ahead"
        raise Refused(401, f"Signed {when}; less than {max_age_s:g} s is allowed. Sent again, or a wrong clock?")
    right = [signature(key, message_id, timestamp, body).encode() for key in keys]
    given = [one.encode() for one in told.split()]
    if not any(hmac.compare_digest(one, other) for one in given for other in right):
        raise Refused(401, "No signature fits: another key has signed it, or it was changed on its way")
    return message_id
