"""Limits and pauses of queues, jobs of a name, and tenants, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from flask import Response, abort, jsonify

from celadon import gates
from celadon.errors import InvalidLimit, UnknownJob, UnknownQueue
from celadon.jobs import as_plain
from celadon.ledger import limits, switches
from celadon.ledger.limits import Gate
from celadon.limits import Kind, Limit
from services.orders.errors import Problem
from web.api.callers import actor
from web.api.steering_models import NewPause, Rule, Rules
from web.problems import invalid, not_found


def limited() -> Response:
    """List limits with their present use

    For each rule how many jobs run, how many are reserved (released, and about to run), how many starts its window
    holds, and for how many more there is room. A rule for each tenant has an entry for each that has jobs now, those
    with the least room first; one for each worker is told for all workers together. Without rules, but with `source`
    `api`: somebody took away what the configuration may say.
    """
    return jsonify({"limits": [_told(gate) for gate in limits.every() if gate.decided]})


def limit(kind: Kind, name: str, body: Rules) -> Response:
    """Limit a queue, the jobs of one name, or a tenant

    From now on, instead of what stood there and of what the configuration says; no rules: no limit. What runs goes on.
    """
    _must_be(gates.known, kind, name)
    rules = [_limit(number, rule) for number, rule in enumerate(body.rules)]
    limits.set_limits(kind, name, rules, actor=actor())
    return _as_it_is(kind, name)


def reset(kind: Kind, name: str) -> Response:
    """Put limits back to what the configuration says

    Which may be none.
    """
    _must_be(gates.turned, kind, name)
    limits.reset(kind, name, actor=actor())
    return _as_it_is(kind, name)


def paused() -> Response:
    """List what is paused

    With its reason, when it ends by itself, and how many jobs wait.
    """
    return jsonify({"pauses": [_told(gate) for gate in limits.every() if gate.paused]})


def pause(kind: Kind, name: str, body: NewPause) -> Response:
    """Pause a queue, the jobs of one name, or a tenant

    New jobs are accepted and wait; what runs goes on. Again changes reason and end.
    """
    _must_be(gates.known, kind, name)
    switches.pause(kind, name, reason=body.reason, until=body.until, for_s=body.for_s, actor=actor())
    return _as_it_is(kind, name)


def resume(kind: Kind, name: str) -> Response:
    """End a pause

    Held jobs go on, as far as their limits allow.
    """
    _must_be(gates.turned, kind, name)
    switches.resume(kind, name, actor=actor())
    return _as_it_is(kind, name)


def _limit(number: int, rule: Rule) -> Limit:
    try:
        return Limit(**rule.model_dump())
    except InvalidLimit as error:
        abort(invalid([Problem(field=f"rules.{number}", message=str(error))]))


def _must_be(there: Callable[[Kind, str], None], kind: Kind, name: str) -> None:
    """404 for a misspelt name."""
    try:
        there(kind, name)
    except (UnknownQueue, UnknownJob) as error:
        abort(not_found(error))


def _as_it_is(kind: Kind, name: str) -> Response:
    return jsonify(_told(limits.find(kind, name)))


def _told(gate: Gate) -> object:
    return as_plain(asdict(gate))
