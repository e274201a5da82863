"""How the name of a service becomes the base URL of its endpoint.

Two registries: a map in the file, and names that DNS knows, such as those of Kubernetes services. What the host's
address is now, and how long that is good for, is asked at each connection (`celadon/delegation/lookups.py`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Protocol

from celadon.delegation.entries import Resolver, Table
from celadon.errors import Unresolved

SERVICE = "{service}"  # What stands for the name in a template.


class Registry(Protocol):
    """What knows where services are."""

    def url(self, service: str) -> str:
        """The base URL. Raises Unresolved."""


@dataclass(frozen=True, slots=True)
class Static:
    """Services in a map."""

    resolver: Resolver

    def url(self, service: str) -> str:
        try:
            return self.resolver.services[service].rstrip("/")
        except KeyError:
            near = difflib.get_close_matches(service, self.resolver.services, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "add it to [services]"
            raise Unresolved(f"there is no service {service!r}; {hint}", service=service) from None


@dataclass(frozen=True, slots=True)
class Dns:
    """Services by the name that DNS has for them."""

    resolver: Resolver

    def url(self, service: str) -> str:
        return (self.resolver.template or "").replace(SERVICE, service).rstrip("/")


def registry(resolver: Resolver) -> Registry:
    """The registry that the file asks for."""
    return Dns(resolver) if resolver.kind == "dns" else Static(resolver)


def base_url(table: Table, service: str) -> str:
    """Where a service is: `http(s)://host[:port][/prefix]`, no slash at its end. Never blocks.

    The host's address is another question: `addresses.check`. Raises Unresolved.
    """
    return registry(table.resolver).url(service)
