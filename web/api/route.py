"""What a route is: how it is asked, what it answers, who may. It is served and documented from the same facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response
from pydantic import BaseModel

from celadon.ledger.apikeys import Scope

LOCATION = {"Location": "Where it is."}


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One line of the table in web/api/routes.py.

    rule: Flask's, below /api. view: called with the path's parameters and, where declared, `body` and `query`; its
    docstring is the route's description, the first line its summary. scope: what a key must have; None: no key is
    needed. answer: the type of the body of a good answer. headers: those of a good answer, by name, described.
    problems: statuses it answers besides those that follow from the rest. max_bytes: of a body; None: the shop's limit.
    """

    method: str
    rule: str
    name: str
    view: Callable[..., Response]
    status: int = 200
    answer: Any
    media: str = "application/json"
    headers: Mapping[str, str] | None = None
    scope: Scope | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    max_key: int = 0  # Characters of the header Idempotency-Key; 0: it takes none.
    problems: tuple[int, ...] = ()
    max_bytes: Callable[[], int] | None = None
    asks_ledger: bool = True
