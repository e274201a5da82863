"""A memory twin of the platform's steps: the same promises, without a ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session, sessionmaker


class StepsFailed(Exception):
    pass


class MemorySteps:
    """Keep one per order; marks outlive the run that made them."""

    def __init__(self, begin: sessionmaker[Session]) -> None:
        self._begin = begin
        self._collected: list[Exception] | None = None
        self.results: dict[str, Any] = {}
        self.errors: dict[str, Exception] = {}

    def run(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: Any,
        outside: bool = False,
        record: Callable[[Session, Any], None] | None = None,
        **kwargs: Any,
    ) -> Any:
        if name in self.results:
            return self.results[name]
        try:
            if outside:
                result = fn(*args, key=f"key-of-{name}", **kwargs)
                with self._begin.begin() as session:
                    if record:
                        record(session, result)
            else:
                with self._begin.begin() as session:
                    result = fn(session, *args, **kwargs)
        except Exception as error:
            self.errors[name] = error
            if self._collected is None:
                raise
            self._collected.append(error)
            return None
        self.results[name] = json.loads(json.dumps(result))
        return self.results[name]

    @contextmanager
    def independent(self) -> Iterator[None]:
        failed: list[Exception] = []
        self._collected = failed
        try:
            yield
        finally:
            self._collected = None
        if failed:
            raise StepsFailed("; ".join(map(str, failed)))
