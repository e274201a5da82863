"""The registration file and its keys reach the pods that use them, and no others."""

from __future__ import annotations

import pytest

from tests.chart.rendering import DEFAULT, ROOT, Refused, render

FILE = ROOT / "delegation.toml"
GIVEN = (*DEFAULT, "--set-file", f"delegation.file={FILE}", "--set", "delegation.keysSecret=features")
USERS = {"celadon-web", "celadon-beat"} | {
    f"celadon-worker-{lane}" for lane in ("default", "data-sync", "scheduled", "delegated")
}


def test_the_file_is_mounted_where_it_is_used_and_named_to_who_reads_it():
    rendered = render(*GIVEN)

    assert rendered.one("ConfigMap", "celadon-delegation")["data"]["delegation.toml"] == FILE.read_text()
    for name, container in rendered.containers().items():
        mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in rendered.pods()[name]["spec"]["volumes"]}
        told = rendered.environment(name).get("DELEGATION_FILE")
        if name not in USERS:
            # Migrations run before there is a ConfigMap of this release.
            assert ("delegation" in mounted, "delegation" in volumes, told) == (False, False, None), name
            continue
        # A folder: a single file of it would stay as it was when the pod began.
        assert mounted["delegation"] == {"name": "delegation", "mountPath": "/etc/celadon-delegation", "readOnly": True}
        assert volumes["delegation"]["configMap"] == {"name": "celadon-delegation"}
        assert told == "/etc/celadon-delegation/delegation.toml"


def test_only_those_that_deliver_have_the_keys():
    rendered = render(*GIVEN)

    having = {
        name
        for name, pod in rendered.pods().items()
        if {"name": "keys", "secret": {"secretName": "features"}} in pod["spec"]["volumes"]
    }
    assert having == {"celadon-worker-delegated"}
    mounts = rendered.containers()["celadon-worker-delegated"]["volumeMounts"]
    assert {"name": "keys", "mountPath": "/etc/celadon-keys", "readOnly": True} in mounts


def test_a_change_of_the_file_makes_no_new_pods():
    def pods(*arguments: str) -> object:
        return render(*DEFAULT, *arguments).pods()

    assert pods("--set", "delegation.file=[queues]") == pods("--set", "delegation.file=[services]")


def test_two_files_are_refused():
    with pytest.raises(Refused, match="delegation.file and config.DELEGATION_FILE are both set"):
        render(*GIVEN, "--set", "config.DELEGATION_FILE=/x.toml")


def test_without_the_lane_nobody_is_told_of_it():
    rendered = render(*GIVEN, "--set", "workers.delegated=null", "--set", "networkPolicy.enabled=true")

    assert not any("delegated" in manifest["metadata"]["name"] for manifest in rendered.manifests)
