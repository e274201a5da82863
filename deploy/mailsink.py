"""A mail server for demo and development: keeps every message it is given as a file, and does nothing else.

Repeats are kept too, each in a file of its own: whether a message came twice is for the reader to see.
Run it alone with `python -m deploy.mailsink --port 1025 --folder run/mail`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class Keeper:
    """Writes each accepted message to `folder` as `00001.eml`, `00002.eml` and so on, as they arrive."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = count(1 + max((int(f.stem) for f in folder.glob("*.eml")), default=0))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes), "SMTP is made with decode_data=False"
        file = self._folder / f"{next(self._numbers):05}.eml"
        part = file.with_suffix(".part")
        part.write_bytes(content)
        part.rename(file)  # Whoever lists the folder sees whole messages only.
        return "250 kept"


async def serve(host: str, port: int, folder: Path) -> None:
    """Accept mail until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keeper = Keeper(folder)
    server = await loop.create_server(lambda: SMTP(keeper, hostname="mail.localhost"), host, port)
    print(f"keeping mail for smtp://{host}:{port} in {folder}", flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.mailsink", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (the loopback address)")
    parser.add_argument("--port", type=int, default=1025, help="port to listen on (1025)")
    parser.add_argument("--folder", type=Path, default=Path("run/mail"), help="where messages go (run/mail)")
    options = parser.parse_args()
    asyncio.run(serve(options.host, options.port, options.folder))


if __name__ == "__main__":
    main()
