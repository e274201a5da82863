"""Reading one queue of `delegation.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from celadon.delegation import addresses, lookups, own_headers, urls
from celadon.delegation.entries import (
    BACKOFF_S,
    CONNECT_S,
    MAX_ANSWER_BYTES,
    PATH,
    Backoff,
    Entry,
    KeySource,
    Network,
    Rate,
    Resolver,
)
from celadon.delegation.fields import Section, guess, shown
from celadon.delegation.keys import PREFIX
from celadon.delegation.resolving import registry
from celadon.errors import InvalidLimit, TargetNotAllowed
from celadon.settings import settings

FIELDS = (
    *("service", "path", "concurrency", "timeout", "connect_timeout", "first_byte_timeout", "attempts", "backoff"),
    *("backoff_ms", "rate", "headers", "keys", "networks", "ports", "max_answer_bytes"),
)
MOST_AT_A_TIME = 100_000  # As of a limit.
MOST_ATTEMPTS = 100  # As of QUEUE_RETRY_ATTEMPTS.
LONGEST_BACKOFF_MS = 3_600_000
MOST_ANSWER_BYTES = 16 * 1024 * 1024  # It is held in memory, once per delivery under way.
# A delivery in doubt is asked after for as long again as it might take, and its run has to see the end of that.
RUN_TIMES = 2
_DNS = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_RATE = re.compile(r"(\d{1,9})/(\d{1,9}(?:\.\d{1,3})?)?([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What an entry has that does not say so: the settings `QUEUE_…`."""

    concurrency: int
    timeout_ms: int
    attempts: int
    backoff: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """What an entry is read with. longest_s: the longest run of the lane."""

    resolver: Resolver
    defaults: Defaults
    longest_s: float


def defaults() -> Defaults:
    told = settings()
    return Defaults(
        concurrency=told.queue_concurrency_default,
        timeout_ms=told.queue_timeout_default,
        attempts=told.queue_retry_attempts,
        backoff=told.queue_retry_backoff,
    )


def read(queue: str, section: Section, around: Around) -> Entry:
    """The queue as the file declares it. What is wrong is noted, and has some other value here."""
    section.known(FIELDS)
    default = around.defaults
    timeout_ms = _timeout_ms(section, around)
    connect_ms = _part_ms(section, "connect_timeout", min(int(CONNECT_S * 1000), timeout_ms), timeout_ms)
    first_byte_ms = _part_ms(section, "first_byte_timeout", timeout_ms, timeout_ms)
    backoff_ms = section.whole("backoff_ms", int(BACKOFF_S * 1000), least=0, most=LONGEST_BACKOFF_MS, unit=" ms")
    made = Entry(
        queue=queue,
        service=_service(section, around.resolver),
        path=_path(section),
        concurrency=section.whole("concurrency", default.concurrency, least=1, most=MOST_AT_A_TIME),
        timeout_s=timeout_ms / 1000,
        connect_s=connect_ms / 1000,
        first_byte_s=first_byte_ms / 1000 if section.has("first_byte_timeout") else None,
        attempts=section.whole("attempts", default.attempts, least=1, most=MOST_ATTEMPTS),
        backoff=section.one_of("backoff", default.backoff, get_args(Backoff)),  # type: ignore[arg-type]
        backoff_s=backoff_ms / 1000,
        rate=_rate(section),
        headers=own_headers.read(section.section("headers")),
        keys=keys(section),
        networks=networks(section),
        ports=frozenset(section.listed("ports", int, "ports, such as [81],")),
        max_answer_bytes=section.whole("max_answer_bytes", MAX_ANSWER_BYTES, least=1, most=MOST_ANSWER_BYTES),
    )
    _check_target(made, section, around.resolver)
    return made


def _timeout_ms(section: Section, around: Around) -> int:
    most = int(around.longest_s * 1000) // RUN_TIMES
    asked = section.whole("timeout", around.defaults.timeout_ms, least=1, most=10**9, unit=" ms")
    if asked > most:
        section.wrong(
            "timeout",
            f"={asked}: at most {most} ms are allowed, since the lane ends a run after {around.longest_s:g} s and a "
            f"delivery in doubt is asked after for as long again; lower it, or raise the lane's timeout_s",
        )
    return asked


def _part_ms(section: Section, field: str, default: int, timeout_ms: int) -> int:
    asked = section.whole(field, default, least=1, most=10**9, unit=" ms")
    if asked > timeout_ms:
        section.wrong(field, f"={asked}: it is a part of the timeout, which is {timeout_ms} ms; lower it")
    return asked


def _service(section: Section, resolver: Resolver) -> str:
    name = section.text("service", None)
    if name is None:
        if not section.has("service"):
            section.wrong(None, ': it has no service; say where its jobs go, such as service = "mail"')
        return ""
    if resolver.kind == "static" and name not in resolver.services:
        section.wrong("service", f"={shown(name)}: it is not in [services]; {guess(name, resolver.services)}")
    if resolver.kind == "dns" and not _DNS.fullmatch(name):
        section.wrong("service", f"={shown(name)}: a name in DNS has lower-case letters, digits and dashes")
    return name


def _path(section: Section) -> str:
    path = section.text("path", PATH)
    if not urls.is_path(path):
        section.wrong("path", f"={shown(path)}: a plain path is meant, such as {PATH!r}, without a slash at its end")
    return path


def _rate(section: Section) -> Rate | None:
    """Starts in a window, as a limit may say it. Here, since limits know the queues, and those this file."""
    from celadon.limits import Limit

    text = section.text("rate", None)
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        section.wrong("rate", f'={shown(text)}: starts in a window are meant, such as "100/1s", "10/m" or "500/2h"')
        return None
    starts, per_s = int(found[1]), float(found[2] or 1) * _SECONDS[found[3]]
    try:
        Limit(starts=starts, per_s=per_s)
    except InvalidLimit as error:
        section.wrong("rate", f"={shown(text)}: {error}")
        return None
    return Rate(starts=starts, per_s=per_s)


def keys(section: Section) -> KeySource | None:
    """Where the keys are. Nothing that stands here is shown: it may be a key, by mistake."""
    if not section.has("keys"):
        return None
    if not isinstance(section.get("keys"), Mapping):
        section.wrong(
            "keys", ': where they are is meant: { env = "NAME" } or { file = "/path" }; keys do not stand here'
        )
        return None
    where = section.section("keys")
    where.known(("env", "file"))
    env, file = where.text("env", None), where.text("file", None)
    if PREFIX in f"{env}{file}":
        section.wrong("keys", ": a key stands in this file; make a new one, and name the variable or file it is in")
    elif (env is None) == (file is None):
        section.wrong("keys", ": one of env and file is meant, and only one")
    elif env is not None and not _VARIABLE.fullmatch(env):
        section.wrong("keys", ": env has to be the name of a variable, such as MAIL_SIGNING_KEYS")
    return KeySource(env=env, file=file)


def networks(section: Section) -> frozenset[Network]:
    """Kinds of addresses that are allowed beside public ones."""
    known = get_args(Network)
    told = section.listed("networks", str, 'networks, such as ["loopback"],')
    for name in told:
        if name not in known:
            section.wrong("networks", f": there is no network {shown(name)}; {guess(name, known)}")
    return frozenset(network for network in known if network in told)


def _check_target(made: Entry, section: Section, resolver: Resolver) -> None:
    """Where the jobs would go, as far as it can be told without asking a name server."""
    for port in made.ports:
        if not 1 <= port <= 65535:
            section.wrong("ports", f": there is no port {port}")
    if resolver.kind == "static" and not resolver.services.get(made.service):
        return  # Told of already.
    try:
        url = urls.parse(registry(resolver).url(made.service), range(1, 65536))
    except TargetNotAllowed:
        return
    if not urls.allowed_port(url.port, made.ports):
        section.wrong(
            "service",
            f"={shown(made.service)}: its port {url.port} is not allowed; 80, 443 and those from "
            f"{urls.FIRST_FREE_PORT} are, and what `ports` adds",
        )
    for address in lookups.literal(url.host):
        reason = addresses.why_not(address, made.networks)
        if reason is not None:
            what = url.host if url.host == address else f"{url.host} ({address})"
            section.wrong("service", f"={shown(made.service)}: its host {what} is not allowed: {reason}")
