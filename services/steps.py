"""What a service that works in steps needs of whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy.orm import Session


class Steps(Protocol):
    """Runs named steps once each, whatever happens to the process meanwhile.

    `run` returns what the step returned, now or when it was done; None, inside `independent`, if it failed.
    """

    def run(
        self,
        name: str,
        fn: Callable[..., Any],
        *args: Any,
        outside: bool = False,
        record: Callable[[Session, Any], None] | None = None,
        **kwargs: Any,
    ) -> Any: ...

    def independent(self) -> AbstractContextManager[Any]: ...
