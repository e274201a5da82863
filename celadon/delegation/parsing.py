"""Reading `delegation.toml`: a table of the delegated queues, or every problem with the line it stands on."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from celadon.delegation import entry, lines, receivers, urls
from celadon.delegation.entries import CALLBACKS, CALLBACKS_MOST, Entry, Resolver, Table
from celadon.delegation.fields import Problems, Section
from celadon.delegation.resolving import SERVICE
from celadon.errors import TargetNotAllowed

LONGEST_AGE_S = 86_400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # Goes into URLs, commands and metrics as it is.


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """What the table has to fit into: the lane that works the queues, and the queues of the other lanes.

    concurrency: jobs at a time in one process of the lane. timeout_s: its longest run. taken: queues of other lanes,
    with the lane's name.
    """

    concurrency: int
    timeout_s: float
    taken: Mapping[str, str]


def parse(text: str, source: str, pool: Pool) -> Table:
    """The table that a registration file declares. What an entry leaves out is as the settings `QUEUE_…` say.

    source: how problems name the file. Raises InvalidTable with every problem: `delegation.toml:12: what; the cure`.
    """
    found = lines.find(text)
    problems = Problems(source, found)
    facts = _toml(text, found, problems)
    problems.refuse()
    file = Section(facts, (), problems)
    file.known(("resolver", "services", "callbacks", "queues"))
    if not facts:
        problems.add_at(1, "the file says nothing; to have no delegated queues, write an empty table [queues]")
    resolver = _resolver(file, problems)
    around = entry.Around(resolver=resolver, defaults=entry.defaults(), longest_s=pool.timeout_s)
    entries = _queues(file.section("queues"), pool, around)
    callbacks = receivers.read(file.section("callbacks"))
    problems.refuse()
    table = Table(
        entries=MappingProxyType(entries),
        resolver=resolver,
        callbacks=MappingProxyType(callbacks),
        digest=hashlib.sha256(f"{around.defaults}\n{text}".encode()).hexdigest()[:16],
    )
    _fit(table, pool, problems)
    problems.refuse()
    return table


def _toml(text: str, found: lines.Lines, problems: Problems) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # It stops at the first fault, and of a key that stands twice it does not say where the other is.
        for path, line in found.again.items():
            name = ".".join(path)
            problems.add_at(
                line, f"{name} stands here for the second time, first in line {found.first[path]}; keep one"
            )
        if not found.again:
            told = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
            what, at = (told[1], int(told[2] or text.count("\n") + 1)) if told else (str(error), 1)
            problems.add_at(at, f"this is no TOML: {what}")
        return {}


def _resolver(file: Section, problems: Problems) -> Resolver:
    section = file.section("resolver")
    section.known(("kind", "age_s", "template"))
    kind = section.one_of("kind", "static", ("static", "dns"))
    age_s = section.whole("age_s", 30, least=1, most=LONGEST_AGE_S, unit=" s")
    template = section.text("template", None)
    services: Mapping[str, str] = {}
    if kind == "static":
        if template is not None:
            section.wrong("template", ': it is for kind = "dns"; a static resolver knows what stands in [services]')
        services = _services(file.section("services"))
    else:
        if file.has("services"):
            problems.add(("services",), ': [services] is for kind = "static"; with "dns" the template finds them')
        _check_template(section, template)
    return Resolver(
        kind="dns" if kind == "dns" else "static",
        age=timedelta(seconds=age_s),
        services=MappingProxyType(dict(services)),
        template=template,
    )


def _services(section: Section) -> Mapping[str, str]:
    """The map of a static resolver. Ports and addresses are judged where a queue uses them."""
    made: dict[str, str] = {}
    for name, _ in section.items():
        made[name] = section.text(name, "")
        try:
            if made[name]:
                urls.parse(made[name], range(1, 65536))
        except TargetNotAllowed as error:
            section.wrong(name, f": {error}")
    return made


def _check_template(section: Section, template: str | None) -> None:
    if template is None:
        section.wrong(
            "template", f': kind = "dns" needs one, such as template = "http://{SERVICE}.features.svc.cluster.local"'
        )
        return
    try:
        if urls.parse(template.replace(SERVICE, "name"), range(1, 65536)).host.count("name") < 1:
            raise TargetNotAllowed(f"{template!r} does not hold {SERVICE} in its host")
        if template.count(SERVICE) != 1:
            raise TargetNotAllowed(f"{template!r} has to hold {SERVICE} once")
    except TargetNotAllowed as error:
        section.wrong("template", f": {error}")


def _queues(section: Section, pool: Pool, around: entry.Around) -> dict[str, Entry]:
    made: dict[str, Entry] = {}
    for name, _ in section.items():
        if not _NAME.fullmatch(name):
            section.wrong(
                name, f": {name[:40]!r} is no name for a queue; 1 to 100 letters, digits, dots, `-` and `_` are allowed"
            )
        elif name == CALLBACKS:
            section.wrong(name, ": in the queue of this name results are told; give it another")
        elif name in pool.taken:
            section.wrong(
                name, f": the lane {pool.taken[name]!r} of celeryconfig works a queue of this name; give it another"
            )
        made[name] = entry.read(name, section.section(name), around)
    return made


def _fit(table: Table, pool: Pool, problems: Problems) -> None:
    """All deliveries wait in the slots of one pool: with fewer slots than deliveries, a hung endpoint would take those
    of other queues."""
    if table.entries and table.concurrency > pool.concurrency:
        largest = max(table.entries.values(), key=lambda one: one.concurrency)
        told = f", with {CALLBACKS_MOST} for callbacks," if table.callbacks else ""
        problems.add(
            ("queues", largest.queue, "concurrency"),
            f": the concurrencies of all queues{told} make {table.concurrency}, and there are {pool.concurrency} "
            "slots, so a hung endpoint could take another queue's; lower some (the largest is this, "
            f"{largest.concurrency}), or raise the concurrency of the lane in celeryconfig.lanes, and of its workers",
        )
