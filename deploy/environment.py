"""`run/env`: what a second terminal needs to speak to what `make up` runs, and the secrets, which are made once.

set -a; . run/env; set +a
.venv/bin/celadon …
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from secrets import token_urlsafe

HEAD = "# Written by `make up` at each start. The secrets stay as they are; remove one to have it made anew.\n"


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What nobody else should know. In the file the names are in upper case.

    Args:
        secret_key: signs the shop's cookies.
        flower_basic_auth: `user:password` of Flower's pages and API.
        flower_cookie_secret: signs Flower's cookies.
        flower_redis_password: of Flower's user on Redis.
    """

    secret_key: str
    flower_basic_auth: str
    flower_cookie_secret: str
    flower_redis_password: str

    @property
    def variables(self) -> dict[str, str]:
        return {name.upper(): value for name, value in asdict(self).items()}


def secrets_of(file: Path) -> Secrets:
    """The secrets that the file holds; those that it lacks are new.

    Raises:
        ValueError: a line of the file is no `NAME='value'`.
    """
    held = _read(file) if file.exists() else {}
    new = {field.name: token_urlsafe(32) for field in fields(Secrets)}
    new["flower_basic_auth"] = f"celadon:{token_urlsafe(12)}"
    return Secrets(**{name: held.get(name.upper()) or value for name, value in new.items()})


def write(file: Path, variables: Mapping[str, str]) -> None:
    """Write the variables for a shell to read."""
    write_private(file, HEAD + "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items()))


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read; whoever reads it meanwhile sees the old one or the new one, whole."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)


def _read(file: Path) -> dict[str, str]:
    held = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = [""]
        if words:
            name, equals, value = words[0].partition("=")
            if len(words) > 1 or not (equals and name):
                raise ValueError(f"{file}:{number} is no NAME='value'; mend the line or remove it")
            held[name] = value
    return held


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"
