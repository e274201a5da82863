"""A feature's service on this host, connections of each test's own, and a registration file that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import celadon.delegation.deliver  # noqa: F401 (declares the job)
from celadon.delegation import circuits, client, file
from celadon.settings import overridden
from tests.servers import FeatureServer

Register = Callable[..., None]


@pytest.fixture
def feature() -> Iterator[FeatureServer]:
    """A service that owns queues; its answers can be told."""
    server = FeatureServer()
    server.start()
    yield server
    client.close()
    server.stop()


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    """Writes a registration file that this process takes at once: one service, and its queues `email` and `letters`.

    What is told is laid over the entry of `email`, in the words of the file. callbacks, receiver: who may be told.
    """
    path = tmp_path / "delegation.toml"

    def write(url: str, *, callbacks: str = "[]", receiver: str = "", **entry: str) -> None:
        fields = {"timeout": "2000", "attempts": "3", "backoff_ms": "90000", "networks": '["loopback"]', **entry}
        lines = ["[services]", f'mail = "{url}"', "[callbacks]", f"allowed = {callbacks}", receiver]
        lines += ["[queues.letters]", 'service = "mail"', 'networks = ["loopback"]']
        lines += ["[queues.email]", 'service = "mail"', *(f"{name} = {value}" for name, value in fields.items())]
        path.write_text("\n".join(lines) + "\n")
        file.forget()
        assert file.last_error() is None, file.last_error()

    with overridden(delegation_file=path):
        circuits.forget()
        yield write
    file.forget()
    circuits.forget()
