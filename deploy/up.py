"""`make up`: everything on this machine until Ctrl-C, on fixed ports; orders and secrets are kept from run to run.

`make up ONLY="worker-default"` starts only the programs named.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from types import FrameType

from celery import Celery

from celadon.ledger import presence
from celadon.settings import override
from deploy import environment
from deploy.stack import BIN, HOST, ROOT, Ports, Stack
from deploy.supervision import NotReady, Supervisor, listening, supervised, until


def main() -> None:
    options = _options()
    folder: Path = options.folder.resolve()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        secrets = environment.secrets_of(folder / "env")
        stack = Stack(
            folder=folder,
            ports=Ports(
                web=options.web_port,
                redis=options.redis_port,
                mail=options.mail_port,
                flower=options.flower_port,
                metrics=options.metrics_port,
            ),
            ledger_url=options.ledger_url,
            secrets=secrets,
        )
        _refuse_taken_ports(stack, {program.name for program in stack.chosen(options.programs)})
        folder.mkdir(parents=True, exist_ok=True)
        environment.write(folder / "env", stack.environment | secrets.variables)
        override(**stack.environment)
        subprocess.run([str(BIN / "celadon"), "migrate"], cwd=ROOT, check=True)
        with supervised(stack, options.programs) as supervisor:
            _wait(stack, supervisor)
            print(_addresses(stack, secrets, supervisor), flush=True)
            while supervisor.running:
                time.sleep(0.5)
            sys.exit(f"supervisor ended by itself; see {stack.logs / 'supervisord.log'}")
    except KeyboardInterrupt:
        print("\nstopped")
    except (NotReady, ValueError) as error:
        sys.exit(f"make up: {error}; logs are in {folder / 'logs'}")
    except subprocess.CalledProcessError:
        sys.exit("make up: the ledger could not be prepared (see above)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.up", description="Run Celadon on this machine.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="only these, such as worker-default")
    parser.add_argument("--web-port", type=int, default=8000, help="shop and API (8000)")
    parser.add_argument("--flower-port", type=int, default=5555, help="Flower (5555)")
    parser.add_argument("--redis-port", type=int, default=6390, help="Redis (6390)")
    parser.add_argument("--mail-port", type=int, default=1025, help="mail server (1025)")
    parser.add_argument("--metrics-port", type=int, default=9101, help="the first of those for metrics (9101)")
    parser.add_argument("--folder", type=Path, default=ROOT / "run", help="ledger, logs and mail (run)")
    parser.add_argument("--ledger-url", help="another database, such as postgresql+psycopg://… (SQLite)")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _listeners(stack: Stack) -> dict[str, int]:
    """Which program listens on which port."""
    ports = stack.ports
    return {"web": ports.web, "redis": ports.redis, "mail": ports.mail, "flower": ports.flower}


def _refuse_taken_ports(stack: Stack, names: Collection[str]) -> None:
    wanted = [(name, name, port, f"{name.upper()}_PORT={port + 1}") for name, port in _listeners(stack).items()]
    for name, port in stack.metrics_ports().items():
        wanted.append((name, f"the metrics of {name}", port, f"METRICS_PORT={(stack.ports.metrics or 0) + 100}"))
    given: dict[int, str] = {}
    for name, what, port, other in wanted:
        if not 0 < port < 65536:
            raise ValueError(f"there is no port {port} for {what}; choose one from 1 to 65535")
        if given.setdefault(port, what) != what:
            raise ValueError(f"port {port} is given to {given[port]} and to {what}; choose another: make up {other}")
        if name in names and listening(port):
            raise ValueError(
                f"port {port} for {what} is taken by another program; stop it, or choose another: make up {other}"
            )


def _wait(stack: Stack, supervisor: Supervisor) -> None:
    """Until the lanes have their workers; then start what comes last, and wait until every server listens."""
    names = supervisor.names()
    lanes = {name.removeprefix("worker-") for name in names if name.startswith("worker-")}
    until("each lane has a worker", lambda: {worker.lane for worker in presence.alive()} >= lanes, within_s=60)
    for program in stack.chosen(names):
        if program.last:
            supervisor.launch(program.name)
    for name, port in _listeners(stack).items():
        if name in names:
            until(f"{name} listens on port {port}", partial(listening, port), within_s=60)
    if lanes and {"redis", "flower"} <= set(names):
        # Flower does so itself, but some seconds after its start: it would not show the first order.
        with Celery(broker=stack.environment["BROKER_URL"], set_as_current=False) as celery:
            celery.control.enable_events()


def _addresses(stack: Stack, secrets: environment.Secrets, supervisor: Supervisor) -> str:
    running = supervisor.names()
    web, celadon = f"http://{HOST}:{stack.ports.web}", BIN / "celadon"
    user, _, password = secrets.flower_basic_auth.partition(":")
    metrics = [f"{port} {name}" for name, port in stack.metrics_ports().items() if name in running]
    lines = [
        ("web", "shop", f"{web}/"),
        ("web", "API", f"{web}/api/openapi.json describes it"),
        ("flower", "Flower", f"http://{HOST}:{stack.ports.flower}/ for {user}, password {password}"),
        ("mail", "mail", str(stack.mail)),
    ]
    return "\n".join(
        [
            "",
            *(f"  {what:8}{where}" for name, what, where in lines if name in running),
            *([f"  metrics http://{HOST}:PORT/metrics: {', '.join(metrics)}"] if metrics else []),
            f"  logs    {stack.logs}",
            f"  status  {BIN / 'supervisorctl'} -c {supervisor.configuration} status",
            "",
            "  In another terminal, to speak to all this: a key for the API, what runs when, and what is held back:",
            f"    set -a; . {_short(stack.folder / 'env')}; set +a",
            f"    {_short(celadon)} keys create me --scope produce --scope read --scope operate",
            f"    {_short(celadon)} schedules list",
            f"    {_short(celadon)} limits list",
            "",
            f"  running {', '.join(running)}",
            "  Ctrl-C stops everything",
            "",
        ]
    )


def _short(path: Path) -> str:
    """The path from the project's folder, as a word for a shell."""
    return shlex.quote(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))


if __name__ == "__main__":
    main()
