"""How the name of a service becomes the base URL of its endpoint."""

from __future__ import annotations

from celadon.delegation.entries import Table


def base_url(table: Table, service: str) -> str:
    """Where a service is: `http(s)://host[:port][/prefix]`, no slash at its end. Never blocks.

    The host's address is another question: `addresses.check`. Raises Unresolved.
    """
    raise NotImplementedError
