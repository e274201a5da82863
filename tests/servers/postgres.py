"""A private PostgreSQL cluster, and databases in it made from a template."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen

import psycopg

from tests.eventually import eventually
from tests.servers.process import find_program, free_port, kill_group, spawn

OWNER = "celadon"

# fsync=off: the tests kill processes, never the machine, and what a process wrote survives its death in the
# page cache. What decides the order and visibility of commits (synchronous_commit, isolation) is the default.
# deadlock_timeout is short so that a deadlock, a defect, is reported before a test's deadline.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "deadlock_timeout": "500ms",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
    "log_min_error_statement": "error",
}


class PostgresServer:
    """One cluster in a temporary folder.

    PostgreSQL refuses to run as root, so for root it runs as the user `postgres` (or `nobody`), which is also
    why the folder is not below the caller's own.
    """

    def __init__(self, settings: Mapping[str, str] = SETTINGS) -> None:
        self._settings = settings
        self.port = free_port()
        self._programs = find_program("initdb", folders=_installed_folders()).parent
        self._user, self._group = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="celadon-postgres-"))
        if self._user is not None and self._group is not None:
            os.chown(self._folder, self._user, self._group)
        self.log = self._folder / "server.log"
        self._process: Popen[bytes] | None = None

    def url(self, database: str, port: int | None = None) -> str:
        """The SQLAlchemy address of a database; `port` for a client that goes through a proxy."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Make the cluster at the first call, start it, and return when it answers."""
        data = self._folder / "data"
        if not data.exists():
            make = [self._programs / "initdb", "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8"]
            subprocess.run(
                [*map(str, make), "--no-locale", "--no-sync"],
                check=True,
                capture_output=True,
                cwd=self._folder,
                user=self._user,
                group=self._group,
                extra_groups=None if self._user is None else [],
            )
        command = [str(self._programs / "postgres"), "-D", str(data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = spawn(
            command, self.log, cwd=self._folder, user=self._user, group=self._group, by=signal.SIGQUIT
        )
        eventually(f"PostgreSQL answers on port {self.port}", self._answers, within=30)

    def stop(self) -> None:
        """Immediate shutdown: clients are cut off; the folder stays for `start`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP to the server and to every session's process: it accepts bytes and never answers."""
        if self._process is not None:
            self._each(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._each(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and delete the cluster."""
        if self._process is not None:
            self.thaw()
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make `name` as a copy of `template`, to which nobody may be connected; return its address."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop it, with whoever is connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self._dsn(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={OWNER} dbname={database} connect_timeout=2"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"PostgreSQL ended: {self.log.read_text()[-800:]}"
        try:
            psycopg.connect(self._dsn("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _each(self, number: signal.Signals) -> None:
        """Each session's process has a group of its own, so the server's group is not enough."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in map(int, children):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        kill_group(self._process, number)


def _installed_folders() -> list[str]:
    """Where Debian keeps the server's programs, which are not on PATH; the newest version first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return [str(path) for path in sorted(found, key=lambda path: int(path.parent.name), reverse=True)]


def _unprivileged() -> tuple[int | None, int | None]:
    """The user and group to run as: for root `postgres` or else `nobody`; for anyone else no change."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    return None, None
