"""`make up`: everything on this machine until Ctrl-C, on fixed ports; orders are kept from run to run.

`make up ONLY="worker-default"` starts only the programs named.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

from celadon.settings import override
from deploy.stack import BIN, HOST, ROOT, Ports, Stack
from deploy.supervision import NotReady, Supervisor, listening, supervised, until


def main() -> None:
    options = _options()
    ports = Ports(web=options.web_port, redis=options.redis_port, mail=options.mail_port, flower=options.flower_port)
    stack = Stack(folder=options.folder.resolve(), ports=ports, ledger_url=options.ledger_url, flower=True)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        _refuse_taken_ports(stack, options.programs)
        stack.folder.mkdir(parents=True, exist_ok=True)
        override(**stack.environment)
        subprocess.run([str(BIN / "celadon"), "migrate"], cwd=ROOT, check=True)
        with supervised(stack, options.programs) as supervisor:
            _wait_for_servers(stack, supervisor)
            print(_addresses(stack, supervisor), flush=True)
            while supervisor.running:
                time.sleep(0.5)
            sys.exit(f"supervisor ended by itself; see {stack.logs / 'supervisord.log'}")
    except KeyboardInterrupt:
        print("\nstopped")
    except (NotReady, ValueError) as error:
        sys.exit(f"make up: {error}; logs are in {stack.logs}")
    except subprocess.CalledProcessError:
        sys.exit("make up: the ledger could not be prepared (see above)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.up", description="Run Celadon on this machine.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="only these, such as worker-default")
    parser.add_argument("--web-port", type=int, default=8000, help="shop and API (8000)")
    parser.add_argument("--flower-port", type=int, default=5555, help="Flower (5555)")
    parser.add_argument("--redis-port", type=int, default=6390, help="Redis (6390)")
    parser.add_argument("--mail-port", type=int, default=1025, help="mail server (1025)")
    parser.add_argument("--folder", type=Path, default=ROOT / "run", help="ledger, logs and mail (run)")
    parser.add_argument("--ledger-url", help="another database, such as postgresql+psycopg://… (SQLite)")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _listeners(stack: Stack) -> dict[str, int]:
    """Which program listens on which port."""
    ports = stack.ports
    return {"web": ports.web, "redis": ports.redis, "mail": ports.mail, "flower": ports.flower}


def _refuse_taken_ports(stack: Stack, only: list[str]) -> None:
    for name, port in _listeners(stack).items():
        if (not only or name in only) and listening(port):
            raise ValueError(
                f"port {port} for {name} is taken by another program; stop it, or choose another: "
                f"make up {name.upper()}_PORT={port + 1}"
            )


def _wait_for_servers(stack: Stack, supervisor: Supervisor) -> None:
    for name, port in _listeners(stack).items():
        if name in supervisor.names():
            until(f"{name} listens on port {port}", partial(listening, port), within_s=60)


def _addresses(stack: Stack, supervisor: Supervisor) -> str:
    web = f"http://{HOST}:{stack.ports.web}"
    return "\n".join(
        [
            "",
            f"  shop    {web}/",
            f"  API     {web}/api/orders",
            f"  Flower  http://{HOST}:{stack.ports.flower}/",
            f"  mail    {stack.mail}",
            f"  logs    {stack.logs}",
            f"  status  {BIN / 'supervisorctl'} -c {supervisor.configuration} status",
            "",
            f"  running {', '.join(supervisor.names())}",
            "  Ctrl-C stops everything",
            "",
        ]
    )


if __name__ == "__main__":
    main()
