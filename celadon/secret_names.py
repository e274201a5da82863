"""Which headers hold what opens doors or proves who somebody is: by their names, and rather one too many."""

from __future__ import annotations

WORDS = ("auth", "cookie", "credential", "jwt", "key", "pass", "secret", "session", "sign", "token")
PUBLIC = {"idempotency-key", "www-authenticate"}  # A job's id; and what a service asks for, not what it gets.


def is_secret(header: str) -> bool:
    """Whether the value of a header of this name is not for other eyes."""
    name = header.lower()
    return name not in PUBLIC and any(word in name for word in WORDS)
