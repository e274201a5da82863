"""Lines: in which order the jobs that wait at limits are looked at."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from celadon.ledger import gates as rows
from celadon.ledger import waiting
from celadon.ledger.gates import Standing

TENANTS = 500  # Limited tenants that are looked at in the line of tenants; the others come at the next release.


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What is served at one gate: each job stands in one line only, so that a turn in it is a turn.

    That is the widest gate that limits it: its queue's, else its name's, else its tenant's. The others before it only
    have to have room. Those whose tenant alone is limited stand in one line together.
    """

    gate: Standing | None  # None: of tenants.
    pairs: tuple[tuple[str, str], ...]
    before: Sequence[Standing]  # The gates of its queues and names.
    tenants: Sequence[str] = ()  # Of the line of tenants: whose.


def lines_of(connection: Connection, gates: Collection[tuple[str, str]] | None) -> list[Line]:
    """The lines in which somebody waits who has to pass one of the gates."""
    found = waiting.pairs(connection)
    if not found:
        return []
    before = {gate.id: gate for gate in rows.standing_before(connection, found)}
    served: dict[Standing | None, list[tuple[str, str]]] = {}
    for queue, name in found:
        limiting = [gate for one in (("queue", queue), ("job", name)) if (gate := before.get(one)) and gate.rules]
        served.setdefault(limiting[0] if limiting else None, []).append((queue, name))
    tenants = _tenants(connection, gates)
    lines = []
    for gate, pairs in served.items():
        gates_of = {one for queue, name in pairs for one in (("queue", queue), ("job", name))}
        passed = [before[one] for one in sorted(gates_of & before.keys())]
        if gate is None:
            some = random.sample(tenants, min(len(tenants), TENANTS))
            if waiting.of_tenants(connection, pairs, some):
                lines.append(Line(gate=None, pairs=tuple(pairs), before=passed, tenants=some))
        elif _concerns(connection, pairs, before, gates, tenants):
            lines.append(Line(gate=gate, pairs=tuple(pairs), before=passed))
    return lines


def _tenants(connection: Connection, gates: Collection[tuple[str, str]] | None) -> list[str]:
    """The limited tenants that wait, of these gates."""
    named = None if gates is None else [name for kind, name in gates if kind == "tenant"]
    return rows.limited_tenants(connection, named)


def _concerns(
    connection: Connection,
    pairs: Sequence[tuple[str, str]],
    before: Mapping[tuple[str, str], Standing],
    gates: Collection[tuple[str, str]] | None,
    tenants: Sequence[str],
) -> bool:
    """Whether any of these (queue, name) stands before one of the gates."""
    if gates is None:
        return True
    of_them = {gate for queue, name in pairs for gate in (("queue", queue), ("job", name))}
    if any(gate in gates and before[gate].rules for gate in of_them & before.keys()):
        return True
    return bool(waiting.of_tenants(connection, pairs, tenants))
