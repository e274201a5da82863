"""The chart's tests need Helm: missing, it fails them in CI and skips them elsewhere."""

from __future__ import annotations

import pytest

from tests.chart.rendering import DEPLOYMENTS, Rendered, helm, render
from tests.conftest import need


@pytest.fixture(autouse=True, scope="session")
def _helm() -> None:
    need(lambda: helm("version"))


@pytest.fixture(params=DEPLOYMENTS)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """The chart with its default values, with all that can be turned on, and with those of staging and production."""
    return render(*DEPLOYMENTS[request.param])
