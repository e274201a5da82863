"""Reading who may be sent results: the section [callbacks] of `delegation.toml`.

    [callbacks]
    allowed = ["https://shop.example.org"]       # Nothing is signed, and only public addresses are sent to.
    [callbacks."https://crm.example.org"]
    keys = { env = "CRM_CALLBACK_KEYS" }
    networks = ["private"]

Each origin has keys of its own: who knows those of another could sign what that one believes.
"""

from __future__ import annotations

from celadon.delegation import addresses, entry, lookups, urls
from celadon.delegation.entries import Receiver
from celadon.delegation.fields import Section
from celadon.errors import TargetNotAllowed

ALLOWED = "allowed"


def read(section: Section) -> dict[str, Receiver]:
    """The receivers by origin. What is wrong is noted."""
    made: dict[str, Receiver] = {}
    for text in section.listed(ALLOWED, str, 'origins, such as ["https://shop.example.org"],'):
        origin = _origin(section, ALLOWED, text)
        if origin is not None:
            made[origin] = Receiver(origin=origin)
    for name, _ in section.items():
        if name == ALLOWED:
            continue
        origin = _origin(section, name, name)
        if origin in made:
            section.wrong(name, f": {origin} is in this section twice; keep one")
        elif origin is not None:
            made[origin] = _receiver(origin, section.section(name))
    for one in made.values():
        _check_address(one, section)
    return made


def _receiver(origin: str, section: Section) -> Receiver:
    section.known(("keys", "networks"))
    return Receiver(origin=origin, keys=entry.keys(section), networks=entry.networks(section))


def _origin(section: Section, field: str, text: str) -> str | None:
    try:
        url = urls.parse(text)
        if url.path:
            raise TargetNotAllowed(f"{text!r}: an origin is meant, without a path: {url.origin}")
    except TargetNotAllowed as error:
        section.wrong(field, f": {error}")
        return None
    return url.origin


def _check_address(one: Receiver, section: Section) -> None:
    """What is no name but an address is judged now."""
    host = urls.parse(one.origin).host
    for address in lookups.literal(host):
        reason = addresses.why_not(address, one.networks)
        if reason is not None:
            # It stands under its own name or, most likely, in the list.
            section.wrong(one.origin if section.has(one.origin) else ALLOWED, f": {host} is not allowed: {reason}")
