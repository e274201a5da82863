"""W3C trace context, from the submitter to the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from celadon import submit, tracing
from celadon.run import Runner, run_job
from tests.contract.given import WORKER, row
from tests.unit.celadon.jobs import SCRIPT

TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
HEADER = f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01"


@pytest.fixture
def _in_a_trace() -> Iterator[None]:
    """The submitter has a current span, as an instrumented web request has."""
    span = NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1)))
    token = context.attach(baggage.set_baggage("tenant", "acme", trace.set_span_in_context(span)))
    yield
    context.detach(token)


def here() -> str:
    found = trace.get_current_span().get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


def test_without_a_trace_nothing_is_carried():
    assert tracing.current() is None


@pytest.mark.usefixtures("_in_a_trace")
def test_the_context_is_told_in_w3c_headers():
    assert tracing.current() == {"traceparent": HEADER, "baggage": "tenant=acme"}


def test_the_context_goes_on_in_the_run_and_ends_with_it():
    with tracing.continued({"traceparent": HEADER, "baggage": "tenant=acme"}):
        assert here() == HEADER
        assert baggage.get_baggage("tenant") == "acme"

    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("carrier", [None, {}, {"traceparent": "nonsense"}], ids=str)
def test_a_run_without_a_usable_context_has_none(carrier):
    with tracing.continued(carrier):
        assert not trace.get_current_span().get_span_context().is_valid


def test_the_context_ends_with_the_run_even_if_it_fails():
    with pytest.raises(ZeroDivisionError), tracing.continued({"traceparent": HEADER}):
        raise ZeroDivisionError

    assert not trace.get_current_span().get_span_context().is_valid


@pytest.fixture
def submitted(ledger: str, _in_a_trace: None) -> str:
    return submit("unit.scripted", {}, queue="data_sync").job_id


def test_a_job_runs_in_the_trace_of_its_submitter(submitted: str):
    seen: list[Any] = []
    SCRIPT.append(lambda steps: seen.append((here(), baggage.get_baggage("tenant"))))
    assert row(submitted).trace["traceparent"] == HEADER
    token = context.attach(context.Context())  # The worker is another process: it has no trace of its own.

    run_job(submitted, Runner(worker=WORKER))
    context.detach(token)

    assert seen == [(HEADER, "acme")]


def test_without_opentelemetry_nothing_is_carried_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracing, "propagate", None)

    assert tracing.current() is None
    with tracing.continued({"traceparent": HEADER}):
        assert not trace.get_current_span().get_span_context().is_valid
