"""Writes metrics.md from the table of metrics (`make reference`). A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from celadon.metrics.declared import every
from celadon.metrics.kinds import Spread

HEAD = """# Metrics

What each process tells at `http://METRICS_BIND/metrics`; the [guide](../guides/metrics.md) says who tells what, and
what to ask. A histogram `x_seconds` comes as `x_seconds_bucket`, `x_seconds_sum` and `x_seconds_count`. This page is
written from the code by `make reference`.

| metric | kind | labels | meaning |
|---|---|---|---|
"""

BUCKETS = """
## Buckets

| histogram | upper bounds, s | because |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_rows()) + BUCKETS + "".join(_buckets())


def _rows() -> Iterator[str]:
    for metric in every():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |\n"


def _buckets() -> Iterator[str]:
    for metric in every():
        if isinstance(metric, Spread):
            bounds = ", ".join(f"{bound:g}" for bound in metric.buckets)
            yield f"| `{metric.name}` | {bounds} | {metric.why} |\n"


if __name__ == "__main__":
    (Path(__file__).parent / "metrics.md").write_text(page())
