"""What the demos have in common: an empty folder, free ports, everything started, and stopped again however it ends."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from celadon.ledger import apikeys, presence
from celadon.ledger.apikeys import Scope
from celadon.settings import override
from deploy.shop_client import Shop
from deploy.stack import BIN, HOST, ROOT, Ports, Stack
from deploy.supervision import NotReady, Supervisor, free_ports, supervised, until


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a demo plays on."""

    stack: Stack
    supervisor: Supervisor
    shop: Shop

    def wait_until_ready(self) -> None:
        """Until the shop takes orders and every worker is there. Raises NotReady."""
        workers = sum(name.startswith("worker-") for name in self.supervisor.names())

        def ready() -> bool:
            self.supervisor.check()
            return self.shop.ready() and sum(worker.lane != "beat" for worker in presence.alive()) >= workers

        until("the shop is ready and every worker is there", ready, within_s=60)


def play(
    folder: Path,
    story: Callable[[Stage], bool],
    *,
    prepare: Callable[[], None] = lambda: None,
    only: Sequence[str] = (),
    next_: Sequence[str] = (),
    **how: Any,
) -> None:
    """Tell a story on a stack of its own, say where to look next, and exit: 0 only if the story was a good one.

    Args:
        folder: emptied first; gets everything that the stack writes.
        prepare: called before anything starts, to put files into the folder.
        only: the programs that are started; none: all.
        next_: commands to try next, each with what it does.
        how: more fields of the stack.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    begun, good = time.monotonic(), False
    with _alone(folder):
        prepare()
        web, redis, mail, flower = free_ports(4)
        ports = Ports(web=web, redis=redis, mail=mail, flower=flower)
        stack = Stack(folder=folder, ports=ports, restart=False, **how)
        override(**stack.environment)
        try:
            subprocess.run([str(BIN / "celadon"), "migrate"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            key, _ = apikeys.create("a demo", [Scope.READ])
            with supervised(stack, only) as supervisor:
                shop = Shop(f"http://{HOST}:{web}", key)
                good = story(Stage(stack=stack, supervisor=supervisor, shop=shop))
        except KeyboardInterrupt:
            print("\ninterrupted; everything it started is stopped")
        except (NotReady, OSError, subprocess.CalledProcessError) as error:
            print(f"\nfailed: {error}")
    print(f"\nTook {time.monotonic() - begun:.0f} s. Where to look next:")
    print("\n".join(f"  {line}" for line in [*_left(stack, shop="mail" in only or not only), *next_]))
    sys.exit(0 if good else 1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """An empty folder for this run; a second one in this clone at the same time is refused."""
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"make {folder.name}: another one is running in this folder")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _left(stack: Stack, *, shop: bool) -> list[str]:
    """What the stack has left in its folder."""

    def short(path: Path) -> Path:
        return path.relative_to(ROOT)

    mail = f"{short(stack.mail)}/*.eml   every message the customers got"
    ledger = "the ledger, the orders and the invoices" if shop else "the ledger"
    return [
        *([mail] if shop else []),
        f"{short(stack.folder)}/celadon.db   {ledger} (SQLite)",
        f"{short(stack.logs)}/   what each process logged",
    ]
