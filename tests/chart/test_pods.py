"""What every pod is and may: who it runs as, where it writes, how it is probed and stopped."""

from __future__ import annotations

import shutil

import pytest

from celadon.settings import Settings
from tests.chart.rendering import CHART, DEFAULT, EVERYTHING, Manifest, Rendered, render

HEARTBEAT = "/tmp/heartbeat"
IMAGE = "celadon:0.1.0"


def beating(rendered: Rendered) -> dict[str, Manifest]:
    """The containers that say by a file that they live."""
    return {name: c for name, c in rendered.containers().items() if c["name"] in ("worker", "beat")}


def test_every_pod_does_what_it_is_named_after(rendered):
    told = {name: c["args"] for name, c in rendered.containers().items() if c["name"] != "worker" and "args" in c}
    assert told == {"celadon-web": ["web"], "celadon-beat": ["beat"], "celadon-migrate": ["migrate"]}
    flower = rendered.containers()["celadon-flower"]["command"]
    assert flower == ["celery", "--app", "celadon.app", "flower", "--address=0.0.0.0", "--port=5555"]


def test_no_pod_is_root_or_can_become_it(rendered):
    for pod in rendered.pods().values():
        context = pod["spec"]["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in rendered.containers().values():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_no_pod_holds_a_token_of_the_api_server(rendered):
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in rendered.pods().values())
    assert all(account["automountServiceAccountToken"] is False for account in rendered.of("ServiceAccount").values())


def test_only_tmp_is_written_to_and_it_is_bounded(rendered):
    for name, pod in rendered.pods().items():
        assert pod["spec"]["volumes"] == [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}]
        assert rendered.containers()[name]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_certificates_of_ones_own_authority_are_in_every_pod():
    file = "/etc/celadon-ca/ca.crt"
    rendered = render(*DEFAULT, "--set", "caSecret=authorities", "--set", f"config.BROKER_CA_FILE={file}")
    for name, container in rendered.containers().items():
        assert rendered.environment(name)["BROKER_CA_FILE"] == file
        assert {"name": "ca", "mountPath": "/etc/celadon-ca", "readOnly": True} in container["volumeMounts"]
        volumes = rendered.pods()[name]["spec"]["volumes"]
        assert {"name": "ca", "secret": {"secretName": "authorities"}} in volumes


def test_every_container_runs_one_named_version_of_one_image(rendered):
    (image,) = {container["image"] for container in rendered.containers().values()}
    assert image.split("/")[-1] == IMAGE


def test_a_private_registry_is_asked_with_the_secrets_named():
    assert all(pod["spec"]["imagePullSecrets"] == [{"name": "registry"}] for pod in render(*EVERYTHING).pods().values())


def test_every_container_says_what_it_needs_and_has_a_limit_of_memory(rendered):
    for container in rendered.containers().values():
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"memory"}


def test_workers_and_beat_are_probed_by_their_heartbeat_without_broker_or_ledger(rendered):
    assert set(beating(rendered)) >= {"celadon-beat", "celadon-worker-default"}
    for name, container in beating(rendered).items():
        assert rendered.environment(name)["HEARTBEAT_FILE"] == HEARTBEAT
        commands = {kind: container[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "liveness", "readiness")}
        assert commands == {
            "startup": ["test", "-e", HEARTBEAT],
            "liveness": ["sh", "-c", f'test -n "$(find {HEARTBEAT} -mmin -1)"'],
            "readiness": ["test", "-e", f"{HEARTBEAT}.ready"],
        }


def test_web_and_flower_are_probed_over_http(rendered):
    web, flower = (rendered.containers()[f"celadon-{name}"] for name in ("web", "flower"))
    paths = {kind: web[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/alive", "liveness": "/alive", "readiness": "/ready"}
    assert {flower[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")} == {
        "/healthcheck"
    }


@pytest.mark.parametrize("prefix", ["flower", "ops/flower"])
def test_flower_can_stand_at_a_path_and_leave_the_workers_alone(prefix):
    rendered = render(*DEFAULT, "--set", f"flower.urlPrefix={prefix}", "--set", "flower.events=false")
    environment = rendered.environment("celadon-flower")
    assert (environment["FLOWER_URL_PREFIX"], environment["FLOWER_ENABLE_EVENTS"]) == (prefix, "false")
    flower = rendered.containers()["celadon-flower"]
    assert flower["livenessProbe"]["httpGet"]["path"] == f"/{prefix}/healthcheck"


def test_how_long_a_probe_may_fail_is_the_lanes_own():
    rendered = render(*DEFAULT, "--set", "workers.default.probes.failureThreshold=9")
    thresholds = {name: c["livenessProbe"]["failureThreshold"] for name, c in beating(rendered).items()}
    assert thresholds.pop("celadon-worker-default") == 9
    assert set(thresholds.values()) == {4}


def test_web_answers_what_it_has_begun_before_it_is_killed():
    pauses = 5 + 10  # preStop, and what `celadon web` gives gunicorn beyond the budget.
    for budget in (Settings.model_fields["inline_budget_s"].default, 59.5):
        rendered = render(*DEFAULT, "--set", f"config.INLINE_BUDGET_S={budget}")
        spec = rendered.pods()["celadon-web"]["spec"]
        assert pauses + budget < spec["terminationGracePeriodSeconds"] <= pauses + budget + 6


def test_requests_are_still_answered_while_the_service_forgets_the_pod(rendered):
    web = rendered.containers()["celadon-web"]
    assert web["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert rendered.pods()["celadon-beat"]["spec"]["terminationGracePeriodSeconds"] == 30


def test_a_pod_goes_when_its_successor_is_ready(rendered):
    for name, deployment in rendered.of("Deployment").items():
        if name.startswith(("celadon-web", "celadon-worker")):
            assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, name


def test_no_autoscaler_interrupts_an_hours_work_to_save_a_node(rendered):
    kept = {
        name
        for name, pod in rendered.pods().items()
        if pod["metadata"].get("annotations", {}).get("cluster-autoscaler.kubernetes.io/safe-to-evict") == "false"
    }
    assert kept == {"celadon-worker-data-sync"}


def test_metrics_are_where_the_annotations_say(rendered):
    serving = {name for name in rendered.containers() if "METRICS_BIND" in rendered.environment(name)}
    assert serving == {name for name in rendered.of("Deployment") if name != "celadon-flower"}
    for name in serving:
        assert rendered.environment(name)["METRICS_BIND"] == "0.0.0.0:9464"
        annotations = rendered.pods()[name]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == "9464"
        assert {"name": "metrics", "containerPort": 9464} in rendered.containers()[name]["ports"]


def test_new_settings_and_secrets_make_new_pods():
    def sums(*arguments: str) -> set[tuple[str, str]]:
        annotations = render(*DEFAULT, *arguments).pods()["celadon-worker-default"]["metadata"]["annotations"]
        return {item for item in annotations.items() if item[0].startswith("checksum/")}

    assert len(sums() & sums("--set", "config.LOG_LEVEL=DEBUG")) == 1
    assert len(sums() & sums("--set", "secrets.SECRET_KEY=another")) == 1
    assert sums() & sums("--set", "config.LOG_LEVEL=DEBUG") != sums() & sums("--set", "secrets.SECRET_KEY=another")


def test_flower_never_runs_twice_and_can_be_left_out():
    deployment = render(*DEFAULT).one("Deployment", "celadon-flower")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    without = render(*DEFAULT, "--set", "flower.enabled=false", "--set", "secrets.FLOWER_BROKER_URL=")
    assert not [m for m in without.manifests if "flower" in m["metadata"]["name"]]


def test_beats_may_be_many():
    rendered = render(*DEFAULT, "--set", "beat.replicas=3")
    assert rendered.one("Deployment", "celadon-beat")["spec"]["replicas"] == 3


def test_their_generation_follows_the_release_unless_it_is_named(tmp_path):
    seventh = shutil.copytree(CHART, tmp_path / "celadon")
    beat = seventh / "templates" / "beat.yaml"
    # Helm renders without a cluster as if each time were the first.
    beat.write_text('{{ $_ := set .Release "Revision" 7 }}' + beat.read_text())
    assert render(*DEFAULT, chart=seventh).environment("celadon-beat")["BEAT_GENERATION"] == "7"
    named = render(*DEFAULT, "--set", "beat.generation=17", chart=seventh)
    assert named.environment("celadon-beat")["BEAT_GENERATION"] == "17"


def test_one_pod_of_a_component_goes_at_a_time_when_nodes_are_emptied(rendered):
    guarded = {
        tuple(budget["spec"]["selector"]["matchLabels"].items())
        for budget in rendered.of("PodDisruptionBudget").values()
        if budget["spec"]["maxUnavailable"] == 1
    }
    deployments = rendered.of("Deployment")
    assert guarded == {
        tuple(deployment["spec"]["selector"]["matchLabels"].items())
        for name, deployment in deployments.items()
        if name != "celadon-flower"
    }


def test_every_selector_finds_the_pods_it_means_and_no_others(rendered):
    labels = {name: pod["metadata"]["labels"].items() for name, pod in rendered.pods().items()}
    selectors = {name: d["spec"]["selector"]["matchLabels"] for name, d in rendered.of("Deployment").items()}
    selectors |= {name: service["spec"]["selector"] for name, service in rendered.of("Service").items()}
    for name, selector in selectors.items():
        assert [pod for pod, has in labels.items() if selector.items() <= has] == [name]


def test_the_version_of_the_image_is_the_products():
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'\nversion = "{IMAGE.split(":")[1]}"\n' in project
