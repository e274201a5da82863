"""Signatures by the Standard Webhooks specification (symmetric, `v1`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def headers(message_id: str, body: bytes, keys: Sequence[bytes], at: datetime) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature` for one request; none without keys.

    body: exactly what is sent; of a GET, nothing. keys: each signs, so that a receiver may know either. at: now, an
    aware time; a receiver refuses what is minutes old, so sign every request anew.
    """
    raise NotImplementedError
