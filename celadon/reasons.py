"""Why an operator did something, as it is kept and shown."""

from __future__ import annotations

from celadon.errors import InvalidOption
from celadon.registry import storable


def checked(reason: str | None) -> str | None:
    """A reason that the ledger keeps and a line of a list has room for; None: there is none. Raises InvalidOption."""
    if reason is not None and not storable(reason):
        raise InvalidOption(
            f"reason={reason[:40]!r}: 1 to 200 characters are allowed, none of them NUL", option="reason"
        )
    return reason
