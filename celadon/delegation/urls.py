"""What a URL may look like that jobs or results are sent to, before its host is looked up."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from celadon.errors import TargetNotAllowed

DEFAULT_PORTS = {"http": 80, "https": 443}
FIRST_FREE_PORT = 1024  # Below are mail, shells, name servers: no HTTP, and what speaks to them by mistake may harm.
LONGEST = 2_000
_NETLOC = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]*)?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Url:
    """A URL whose host may be looked up. `host` has no brackets; `path` begins with a slash or is empty."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """`scheme://host[:port]` in lower case; the port only if it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")

    def __str__(self) -> str:
        return self.origin + self.path


def parse(text: str, ports: Collection[int] = ()) -> Url:
    """Take a URL apart. Raises TargetNotAllowed for one that nothing is sent to, whatever its host's address.

    ports: allowed beside 80, 443 and those from 1024.
    """
    if not isinstance(text, str) or len(text) > LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise _refused(text, "a URL is printable ASCII without spaces; write other names in their `xn--` form")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _refused(text, str(error)) from error
    if parts.scheme not in DEFAULT_PORTS:
        raise _refused(text, "it has to begin with http:// or https://")
    if "@" in parts.netloc:
        # Not shown: what stands before the @ may be a password.
        raise TargetNotAllowed("a URL with a user or password before its host is not allowed; deliveries are signed")
    if "#" in text or "?" in text:
        raise _refused(text, "no `?` and no `#` may stand in it")
    netloc = _NETLOC.fullmatch(parts.netloc)
    if netloc is None:
        raise _refused(text, f"{parts.netloc[:80]!r} is no host")
    if not _PATH.fullmatch(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise _refused(text, f"{parts.path[:80]!r} is no plain path")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if not allowed_port(port, ports):
        raise _refused(text, f"port {port} is not allowed; 80, 443 and those from {FIRST_FREE_PORT} are")
    return Url(scheme=parts.scheme, host=netloc[1].strip("[]").lower(), port=port, path=parts.path.rstrip("/"))


def allowed_port(port: int, ports: Collection[int] = ()) -> bool:
    return port in DEFAULT_PORTS.values() or port in ports or FIRST_FREE_PORT <= port <= 65535


def is_path(text: str) -> bool:
    """Whether this is a path that a job's id can be put behind: `/a/b`."""
    plain = _PATH.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))
    return plain and bool(text) and not text.endswith("/")


def _refused(text: object, why: str) -> TargetNotAllowed:
    return TargetNotAllowed(f"{str(text)[:120]!r} is not allowed: {why}")
