"""Kubernetes takes what the chart renders, in its oldest version that the chart allows and in the newest."""

from __future__ import annotations

from collections import Counter
from functools import cache

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from tests.chart.rendering import CHART, DEFAULT, Refused, Rendered, helm, parse, render

_read = cache(utils.schema_contents)


@pytest.fixture(autouse=True)
def _schemas_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the validator reads some megabytes of definitions for each object."""
    monkeypatch.setattr(utils, "schema_contents", _read)


@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_every_object_is_valid_and_has_no_field_too_many(rendered: Rendered, version: str) -> None:
    for manifest in rendered.manifests:
        # Raises for what is wrong, and for a kind that it does not know, which its command only warns of.
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_a_misspelt_field_would_be_found() -> None:
    deployment = render(*DEFAULT).one("Deployment", "celadon-web")
    broken = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_the_versions_are_those_that_the_chart_allows() -> None:
    assert 'kubeVersion: ">=1.25.0-0"' in (CHART / "Chart.yaml").read_text()
    with pytest.raises(Refused, match="incompatible with Kubernetes v1.24"):
        render(*DEFAULT, "--kube-version", "1.24.0")


@pytest.mark.parametrize("values", ["values.yaml", "values-staging.yaml", "values-production.yaml"])
def test_lint_has_nothing_to_say(values: str) -> None:
    done = helm("lint", "--strict", "--quiet", CHART, "--values", CHART / values, "--set", "workerReplicas=1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_objects_have_one_name(rendered: Rendered) -> None:
    names = Counter((m["kind"], m["metadata"]["name"]) for m in rendered.manifests)
    assert names.most_common(1)[0][1] == 1


def test_names_stay_short_enough_whatever_the_release_is_called() -> None:
    done = helm("template", "a-release-with-a-name-as-long-as-helm-allows-it-53chr", CHART, *DEFAULT)
    assert done.returncode == 0, done.stderr
    names = {m["metadata"]["name"] for m in parse(done.stdout).manifests}
    assert "a-release-with-a-name-as-long-as-helm-al-web" in names
    assert max(map(len, names)) <= 63


def test_the_notes_say_what_to_do_next() -> None:
    done = helm("install", "celadon", CHART, *DEFAULT, "--dry-run=client")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("NOTES:")[1]
    assert "data_sync: 1 × 2 prefork" in notes
    assert "kubectl --namespace default port-forward service/celadon-web 8000:80" in notes
    assert "exec deployment/celadon-web -- celadon keys create" in notes
