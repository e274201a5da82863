"""Who asks: the key in `Authorization: Bearer …`, what it may do, and how often."""

from __future__ import annotations

from typing import NoReturn

from flask import abort, g, request

from celadon.ledger import apikeys
from celadon.ledger.apikeys import ApiKey, Scope
from web import ledger
from web.api import rates
from web.problems import problem

MAKE_ONE = "`celadon keys create NAME --scope …` makes one"


def admit(scope: Scope | None) -> None:
    """Let the present request through if its key allows `scope`; None: no key is needed, but a bad one is refused.

    401 without a good key, 403 without the scope, 429 over the rate. Raises LedgerUnavailable, for nothing can be done
    without the ledger.
    """
    g.key = None
    given = request.headers.get("Authorization")
    if scope is not None and given is None:
        _refuse("A key is needed, as `Authorization: Bearer KEY`; " + MAKE_ONE)
    ledger.require()
    if given is None:
        return
    key = apikeys.verify(secret(given))
    if key is None:
        _refuse("This is no key, or it was revoked; " + MAKE_ONE, "invalid_token")
    _count(f"key:{key.id}")
    g.key = key
    if scope is not None:
        demand(scope)


def demand(scope: Scope) -> None:
    """403 unless the caller's key has the scope."""
    if scope not in caller().scopes:
        abort(problem(403, f"This key lacks the scope `{scope}`.", "scope-missing", scope=scope))


def may(scope: Scope) -> bool:
    """Whether there is a key, and it has the scope."""
    return g.key is not None and scope in g.key.scopes


def caller() -> ApiKey:
    """The key of a request that needs one."""
    key: ApiKey = g.key
    return key


def actor() -> str:
    """The caller, as the audit calls it."""
    return f"key {caller().id}"


def secret(given: str) -> str:
    """The key in an Authorization header; empty for another way of authorization."""
    way, _, text = given.partition(" ")
    return text.strip() if way.lower() == "bearer" else ""


def _refuse(detail: str, error: str | None = None) -> NoReturn:
    # Whoever tries keys is slowed down; a proxy in front is one address, and needs limits of its own.
    _count(f"address:{request.remote_addr}")
    answer = problem(401, detail, "key-needed")
    answer.headers["WWW-Authenticate"] = f'Bearer error="{error}"' if error else "Bearer"
    abort(answer)


def _count(who: str) -> None:
    again_in_s = rates.take(who)
    if again_in_s is not None:
        answer = problem(429, f"Too many requests; come again in {again_in_s} s.", "too-many-requests")
        answer.headers["Retry-After"] = str(again_in_s)
        abort(answer)
