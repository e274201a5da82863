"""The jobs that the contract's tests submit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from celadon import Steps, job
from celadon.ledger import session

RAN: list[str] = []  # What ran in this process, in order.
SCRIPT: list[Callable[[Steps], object]] = []


@job("contract.inline", queue="default", fallback="inline", attempts=2, backoff=timedelta(0))
def inline(word: str) -> dict[str, str]:
    RAN.append(word)
    return {"word": word}


@job("contract.deferred", queue="data_sync", fallback="defer", scope="order:{order_id}")
def deferred(order_id: str, steps: Steps) -> None:
    """Never runs here."""


@job("contract.refused", queue="default", fallback="refuse")
def refused(word: str) -> None:
    """Never runs here."""


@job("contract.anything", queue="data_sync", fallback="defer")
def anything(value: Any) -> None:
    """Never runs here."""


@job("contract.adopting", queue="default", adopt=True)
def adopting(word: str, times: int = 1) -> None:
    RAN.extend([word] * times)


@job("contract.scripted", queue="default", attempts=2, backoff=timedelta(0))
def scripted(steps: Steps) -> object:
    """Does what the test has written into SCRIPT."""
    return SCRIPT[-1](steps)


def note_table() -> None:
    """A table of the application's own, in the ledger's database."""
    with session() as own:
        own.execute(text("CREATE TABLE IF NOT EXISTS notes (word VARCHAR(100) PRIMARY KEY)"))
        own.execute(text("DELETE FROM notes"))
        own.commit()


def notes() -> list[str]:
    with session(read_only=True) as own:
        return [row.word for row in own.execute(text("SELECT word FROM notes ORDER BY word"))]


def write_note(own: Any, word: str) -> str:
    own.execute(text("INSERT INTO notes VALUES (:word)"), {"word": word})
    return word
