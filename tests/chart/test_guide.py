"""The commands of docs/guides/kubernetes.md, run by a shell as they stand there, with a Helm that only renders."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, DEFAULT, HELM, ROOT, Rendered, parse, render

PAGE = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
COMMANDS = [block for block in re.findall(r"^```console\n\$ (.*?)^```$", PAGE, re.M | re.S) if "helm upgrade" in block]
STAGING, PRODUCTION, SCALED, DELEGATING = COMMANDS


def head(values: str) -> str:
    """The command that the comment at the head of a values file gives."""
    text = (CHART / values).read_text().replace("\n#", "\n")
    (command,) = re.findall(r'helm upgrade.*?\}"', text, re.S)
    return str(command)


def run(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of the page in the project's folder; `helm upgrade --install` renders instead."""
    program = folder / "helm"
    program.write_text(f'#!/bin/sh\n[ "$1 $2" = "upgrade --install" ] && shift 2 && exec {HELM} template "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder), **variables}
    shell = ["bash", "-c", command]
    return subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)


def replicas(rendered: Rendered) -> dict[str, int]:
    deployments = rendered.of("Deployment").items()
    return {name.removeprefix("celadon-worker-"): d["spec"]["replicas"] for name, d in deployments if "worker" in name}


@pytest.mark.parametrize(
    ("command", "variable", "sentry"),
    [
        (STAGING, "WORKER_REPLICAS_STAG", "staging"),
        (head("values-staging.yaml"), "WORKER_REPLICAS_STAG", "staging"),
        (PRODUCTION, "WORKER_REPLICAS_PROD", "production"),
        (head("values-production.yaml"), "WORKER_REPLICAS_PROD", "production"),
    ],
)
def test_the_number_of_workers_is_the_deployments_own_variable(command, variable, sentry, tmp_path):
    done = run(command, tmp_path, **{variable: "7"})
    assert done.returncode == 0, done.stderr
    rendered = parse(done.stdout)
    assert replicas(rendered) == {"default": 7, "data-sync": 7, "scheduled": 7, "delegated": 7}
    assert rendered.one("ConfigMap", "celadon")["data"]["SENTRY_ENVIRONMENT"] == sentry


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("value", [None, "", "0", "-1", "many"])
def test_without_that_variable_nothing_is_deployed(command, value, tmp_path):
    (name,) = set(re.findall(r"WORKER_REPLICAS_\w+", command))
    done = run(command, tmp_path, **({} if value is None else {name: value}))
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"{name}: is not set" in done.stderr or "at '/workerReplicas'" in done.stderr


def test_a_lane_can_be_scaled_apart_from_the_rest(tmp_path):
    rendered = parse(run(SCALED, tmp_path, WORKER_REPLICAS_PROD="7").stdout)
    assert replicas(rendered) == {"default": 7, "data-sync": 2, "scheduled": 7, "delegated": 7}
    assert "--concurrency=80" in rendered.containers()["celadon-worker-default"]["args"]


def test_the_registration_file_and_its_keys_go_with_the_release(tmp_path):
    rendered = parse(run(DELEGATING, tmp_path, WORKER_REPLICAS_PROD="7").stdout)
    assert "[queues.email]" in rendered.one("ConfigMap", "celadon-delegation")["data"]["delegation.toml"]
    volumes = rendered.pods()["celadon-worker-delegated"]["spec"]["volumes"]
    assert {"name": "keys", "secret": {"secretName": "celadon-features"}} in volumes


def test_the_secret_of_the_page_holds_all_that_pods_ask_of_it():
    block = re.search(r"^```text\n(LEDGER_URL=.*?)^```$", PAGE, re.M | re.S)
    written = {line.split("=")[0] for line in block[1].splitlines()}
    optional = set(re.findall(r"`(\w+)` and `(\w+)` may stand there too", PAGE)[0])
    rendered = render("--values", CHART / "values-production.yaml", "--set", "workerReplicas=1")
    entries = [entry for container in rendered.containers().values() for entry in container["env"]]
    refs = [entry["valueFrom"]["secretKeyRef"] for entry in entries if "valueFrom" in entry]
    assert {ref["key"] for ref in refs} == written | optional
    assert {ref["key"] for ref in refs if not ref.get("optional")} <= written


def test_the_settings_of_the_page_are_taken(tmp_path):
    file = tmp_path / "values.yaml"
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
    file.write_text(block)
    data = render(*DEFAULT, "--values", file).one("ConfigMap", "celadon")["data"]
    assert data == {name: str(value) for name, value in yaml.safe_load(block)["config"].items()}
