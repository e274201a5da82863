"""What stands in an address: a job's id, a kind, and names that may hold anything.

A name is percent-encoded as a whole, as every URL library does (`quote(name, safe="")`). The server sees it decoded, so
a slash in it is a slash in the path; it may as well be left as it is, which servers in front that forbid `%2F` need.
"""

from __future__ import annotations

from typing import get_args

from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, ValidationError

from celadon.limits import Kind as KindOfGate
from celadon.plans import ACTIONS
from celadon.registry import storable

MAX_ID = 64  # Characters; the column's width.
KINDS = get_args(KindOfGate)


class JobId(BaseConverter):
    """A job's id: what can't be one is not found, and `bulk` is where bulks go."""

    regex = rf"(?!bulk$)[^/]{{1,{MAX_ID}}}"
    part_isolating = True

    def to_python(self, value: str) -> str:
        if not value.isprintable():
            raise ValidationError("no id of a job")
        return value


class Kind(BaseConverter):
    """Whose name follows."""

    regex = "|".join(KINDS)
    part_isolating = True


class Named(BaseConverter):
    """The name of a queue, a job or a tenant: whatever the ledger can hold, slashes among it."""

    regex = r"[\s\S]+"
    part_isolating = False

    def to_python(self, value: str) -> str:
        if not storable(value):
            raise NotFound  # Otherwise the same address with another method would be looked at, and answer 405.
        return value


class Schedule(Named):
    """A schedule's name. One that ends like the address of an action would be taken for that; it is none here."""

    regex = Named.regex + "".join(f"(?<!/{action})" for action in ACTIONS)


CONVERTERS = {"job": JobId, "kind": Kind, "named": Named, "schedule": Schedule}
