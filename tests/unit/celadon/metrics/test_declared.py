"""The table of metrics keeps to Prometheus's customs, and to bounds."""

from __future__ import annotations

import pytest

from celadon.metrics import declared
from celadon.metrics.kinds import Count, Metric, Spread

FREELY_CHOSEN = {"job_id", "path", "url", "key", "tenant", "worker", "pid", "error", "payload"}


def test_names_are_unique() -> None:
    names = [metric.name for metric in declared.every()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", declared.every(), ids=lambda metric: metric.name)
def test_a_metric_is_named_by_custom_and_has_no_label_that_anybody_can_choose(metric: Metric) -> None:
    assert metric.name.startswith("celadon_")
    assert metric.name.endswith("_total") is isinstance(metric, Count)
    assert not isinstance(metric, Spread) or metric.name.endswith("_seconds")
    assert not FREELY_CHOSEN & set(metric.labels)
    assert metric.meaning.endswith(".")


@pytest.mark.parametrize("metric", [m for m in declared.every() if isinstance(m, Spread)], ids=lambda m: m.name)
def test_buckets_rise_and_are_few_and_have_a_reason(metric: Spread) -> None:
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert len(metric.buckets) <= 15
    assert metric.why
