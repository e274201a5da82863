"""W3C trace context, carried from the submitter to the run, if the application has OpenTelemetry installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

context: Any
propagate: Any
try:
    context, propagate = import_module("opentelemetry.context"), import_module("opentelemetry.propagate")
except ImportError:  # Optional: without it jobs carry no trace.
    context = propagate = None


def current() -> dict[str, str] | None:
    """The submitter's trace context, or None if there is none."""
    if propagate is None:
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier or None


@contextmanager
def continued(carrier: Mapping[str, str] | None) -> Iterator[None]:
    """Run inside the submitter's trace."""
    if propagate is None or not carrier:
        yield
        return
    token = context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        context.detach(token)
