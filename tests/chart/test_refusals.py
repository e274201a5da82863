"""What can't be meant is refused before anything reaches the cluster, in words that name the value."""

from __future__ import annotations

import json

import pytest

from tests.chart.rendering import CHART, DEFAULT, PRODUCTION, VALUES, Refused, render

PRODUCTION_ALONE = ("--values", CHART / "values-production.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("workers.defualt.replicas=2", "at '/workers/defualt': missing properties 'pool'"),
        ("workers.default.replica=2", "at '/workers/default': additional properties 'replica' not allowed"),
        ("workers.default.replicas=-1", "at '/workers/default/replicas': minimum: got -1, want 0"),
        ("workers.default.pool=gevent", "at '/workers/default/pool': value must be one of 'threads', 'prefork'"),
        ("workers.default.concurrency=0", "at '/workers/default/concurrency': minimum: got 0, want 1"),
        ("workers.default.graceSeconds=1", "at '/workers/default/graceSeconds': minimum: got 1, want 5"),
        ("workers.Slow.pool=threads", "'Slow' does not match pattern"),
        ("workers=null", "missing property 'workers'"),
        ("worker.default.replicas=2", "additional properties 'worker' not allowed"),
        ("web.replicas=many", "at '/web/replicas': got string, want integer"),
        ("config.LOG_LEVLE=INFO", "at '/config': additional properties 'LOG_LEVLE' not allowed"),
        ("config.LEDGER_URL=x", "at '/config': additional properties 'LEDGER_URL' not allowed"),
        ("config.WEB_BIND=x", "at '/config': additional properties 'WEB_BIND' not allowed"),
        ("secrets.SECRETKEY=x", "at '/secrets': additional properties 'SECRETKEY' not allowed"),
        ("image.tag=latest", "image.tag=latest is refused, for two pods might run two versions; name a version"),
        ("secrets.SECRET_KEY=", "secrets.SECRET_KEY is empty; set it in a values file of yours, or name in existingS"),
        ("secrets.FLOWER_BASIC_AUTH=", "secrets.FLOWER_BASIC_AUTH is empty"),
        ("secrets.LEDGER_URL=sqlite:///celadon.db", "secrets.LEDGER_URL is an SQLite file, which each pod would have"),
        (
            "existingSecret=mine",
            "existingSecret=mine and secrets.BROKER_URL are both set, so that one would be",
        ),
        (
            "config.BROKER_CA_FILE=/ca.crt",
            "config.BROKER_CA_FILE=/ca.crt is a file that no pod has; name in caSecret a Secret",
        ),
        ("flower.urlPrefix=/flower", "at '/flower/urlPrefix': '/flower' does not match pattern"),
        ("web.ingress.enabled=true", "web.ingress.host is empty; name the host, such as shop.example.org"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(change, message):
    with pytest.raises(Refused) as refused:
        render(*DEFAULT, "--set", change)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        ((), 'workerReplicas is not set; add --set workerReplicas="$WORKER_REPLICAS_PROD"'),
        (("--set", "workerReplicas="), "at '/workerReplicas': got string, want integer"),
        (("--set", "workerReplicas=0"), "at '/workerReplicas': minimum: got 0, want 1"),
        (("--set", "workerReplicas=-3"), "at '/workerReplicas': minimum: got -3, want 1"),
        (("--set", "workerReplicas=2.5"), "at '/workerReplicas': got string, want integer"),
    ],
)
def test_without_a_number_of_workers_nothing_is_deployed(replicas, message):
    with pytest.raises(Refused) as refused:
        render(*PRODUCTION_ALONE, *replicas)
    assert message in str(refused.value)


def test_two_lanes_that_would_have_one_name_are_refused():
    with pytest.raises(Refused) as refused:
        render(*DEFAULT, "--set-json", f"workers.data-sync={json.dumps(VALUES['workers']['data_sync'])}")
    told = "the lanes data-sync and data_sync would both be the Deployment worker-data-sync; rename one"
    assert told in str(refused.value)


def test_a_number_is_not_asked_for_where_every_lane_names_its_own():
    own = [word for lane in VALUES["workers"] for word in ("--set", f"workers.{lane}.replicas=1")]
    assert render(*PRODUCTION_ALONE, *own)
    assert render(*PRODUCTION)
