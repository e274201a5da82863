"""Each lane of celeryconfig is a Deployment that works it as celeryconfig says."""

from __future__ import annotations

import json

import pytest

from celeryconfig import lanes
from tests.chart.rendering import DEFAULT, PRODUCTION, VALUES, Manifest, Rendered, render

MARGIN_S = 15


def workers(rendered: Rendered) -> dict[str, Manifest]:
    """Deployments by the lane that their worker is told to work."""
    containers = {name: c for name, c in rendered.containers().items() if c["name"] == "worker"}
    return {container["args"][1]: rendered.one("Deployment", name) for name, container in containers.items()}


def told(deployment: Manifest) -> list[str]:
    args: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return args


def test_the_values_name_the_lanes_of_celeryconfig_with_their_figures():
    stated = {lane: (how["pool"], how["concurrency"], how["graceSeconds"]) for lane, how in VALUES["workers"].items()}
    assert stated == {lane: (how["pool"], how["concurrency"], how["grace_s"]) for lane, how in lanes.items()}


def test_every_lane_has_a_deployment_and_there_is_no_other(rendered):
    assert set(workers(rendered)) == set(lanes)


def test_a_worker_is_started_with_what_the_values_say(rendered):
    for lane, deployment in workers(rendered).items():
        how = lanes[lane]
        options = [f"--pool={how['pool']}", f"--concurrency={how['concurrency']}", f"--grace={how['grace_s']}"]
        assert told(deployment) == ["worker", lane, *options]


def test_a_pod_lives_longer_than_its_workers_grace(rendered):
    for lane, deployment in workers(rendered).items():
        spec = deployment["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] == lanes[lane]["grace_s"] + MARGIN_S


def test_a_lane_is_changed_where_its_values_stand():
    changes = {"pool": "prefork", "concurrency": 4, "graceSeconds": 300}
    arguments = [word for name, value in changes.items() for word in ("--set", f"workers.default.{name}={value}")]
    deployment = workers(render(*DEFAULT, *arguments))["default"]
    assert told(deployment) == ["worker", "default", "--pool=prefork", "--concurrency=4", "--grace=300"]
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 300 + MARGIN_S


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ((), {"default": 5, "data_sync": 5, "scheduled": 5, "delegated": 5}),
        (("--set", "workers.data_sync.replicas=2"), {"default": 5, "data_sync": 2, "scheduled": 5, "delegated": 5}),
        (("--set", "workers.data_sync.replicas=0"), {"default": 5, "data_sync": 0, "scheduled": 5, "delegated": 5}),
    ],
)
def test_a_lane_has_the_replicas_it_names_or_those_of_all(replicas, expected):
    rendered = render(*PRODUCTION, *replicas)
    assert {lane: deployment["spec"]["replicas"] for lane, deployment in workers(rendered).items()} == expected


def test_a_lane_of_ones_own_is_an_entry_more_and_null_takes_one_out():
    probes = {"periodSeconds": 60, "failureThreshold": 2}
    lane = {"pool": "threads", "concurrency": 1, "graceSeconds": 30, "resources": {}, "probes": probes}
    one_more = ("--set-json", f"workers.slow_mail={json.dumps(lane)}")
    rendered = render(*DEFAULT, *one_more, "--set", "workers.scheduled=null")
    assert set(workers(rendered)) == {*lanes, "slow_mail"} - {"scheduled"}
    assert rendered.containers()["celadon-worker-slow-mail"]["livenessProbe"]["periodSeconds"] == 60
