"""Which headers of its own an entry may add to its deliveries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from celadon.delegation.fields import Section, shown
from celadon.secret_names import WORDS, is_secret

MOST, LONGEST = 20, 1_000
# What the platform says itself, and what belongs to one connection rather than to a request.
OURS = {
    *("accept", "accept-encoding", "content-encoding", "content-length", "content-type", "date", "forwarded", "host"),
    *("baggage", "idempotency-key", "traceparent", "tracestate", "via"),
    *("connection", "expect", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
}
OURS_BY_PREFIX = ("webhook-", "proxy-", "sec-", "x-forwarded-")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def read(section: Section) -> Mapping[str, str]:
    """The headers that the section lists, in the order of the file."""
    made: dict[str, str] = {}
    told: set[str] = set()
    for name, value in section.items():
        reason = _why_not(name, value) or ("it is there already, in another spelling" if name.lower() in told else None)
        if reason is not None:
            section.wrong(name, f": {reason}")
        told.add(name.lower())
        made[name] = str(value)
    if len(made) > MOST:
        section.wrong(None, f": {len(made)} headers are too many; {MOST} are allowed")
    return MappingProxyType(made)


def _why_not(name: str, value: object) -> str | None:
    lower = name.lower()
    if not _NAME.fullmatch(name):
        return f"{name[:40]!r} is no name of a header; letters, digits and dashes are"
    if lower in OURS or lower.startswith(OURS_BY_PREFIX):
        return "this header is the platform's own or the connection's; leave it out"
    if is_secret(name):
        # The value is not shown.
        return (
            "by its name it holds a secret, and secrets do not stand in this file; deliveries are signed, see `keys`. "
            f"What holds none is named without {', '.join(WORDS[:-1])} and {WORDS[-1]}"
        )
    if not isinstance(value, str) or len(value) > LONGEST or not _VALUE.fullmatch(value):
        return f"{shown(value)} can't be a header's value; 1 to {LONGEST} printable ASCII characters in quotes can"
    return None
