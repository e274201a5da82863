"""Signatures by the Standard Webhooks specification (symmetric, `v1`)."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime


def headers(message_id: str, body: bytes, keys: Sequence[bytes], at: datetime) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature` for one request; none without keys.

    body: exactly what is sent; of a GET, nothing. keys: each signs, so that a receiver may know either. at: now, an
    aware time; a receiver refuses what is minutes old, so sign every request anew.
    """
    if not keys:
        return {}
    timestamp = str(int(at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
