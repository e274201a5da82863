"""The chart as Helm renders it, and questions about what came out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.servers import Missing

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "celadon"
HELM = ROOT / ".venv" / "bin" / "helm"  # `.ci/helm` brings it.
TIMEOUT_S = 30

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm rendered nothing; its reason is the message."""


@dataclass(frozen=True)
class Rendered:
    """Everything that would be sent to the cluster."""

    manifests: tuple[Manifest, ...]

    def of(self, kind: str) -> dict[str, Manifest]:
        """The objects of a kind, by name."""
        return {m["metadata"]["name"]: m for m in self.manifests if m["kind"] == kind}

    def one(self, kind: str, name: str) -> Manifest:
        return self.of(kind)[name]

    def pods(self) -> dict[str, Manifest]:
        """What pods are made of, by the name of the Deployment or Job that makes them."""
        makers = {**self.of("Deployment"), **self.of("Job")}
        return {name: maker["spec"]["template"] for name, maker in makers.items()}

    def containers(self) -> dict[str, Manifest]:
        """The one container of each pod, by the name of what makes it."""
        found = {name: pod["spec"]["containers"] for name, pod in self.pods().items()}
        assert all(len(containers) == 1 for containers in found.values())
        return {name: containers[0] for name, containers in found.items()}

    def environment(self, name: str) -> dict[str, str]:
        """What a container finds in its environment: variable → value, or SECRET/KEY that it comes from."""
        container, found = self.containers()[name], {}
        for source in container.get("envFrom", []):
            found.update(self.one("ConfigMap", source["configMapRef"]["name"])["data"])
        for entry in container["env"]:
            assert entry["name"] not in found, f"{name}: {entry['name']} is set twice"
            secret = entry.get("valueFrom", {}).get("secretKeyRef")
            found[entry["name"]] = f"{secret['name']}/{secret['key']}" if secret else entry["value"]
        return found


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if not HELM.exists():
        raise Missing("helm is not there; run .ci/helm")
    command = [str(HELM), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@cache
def render(*arguments: str | Path, chart: Path = CHART) -> Rendered:
    """`helm template` of the release `celadon`. Raises Refused."""
    done = helm("template", "celadon", chart, *arguments)
    if done.returncode:
        raise Refused(done.stderr)
    return parse(done.stdout)


def parse(text: str) -> Rendered:
    return Rendered(tuple(m for m in yaml.safe_load_all(text) if m))


VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
HERE = Path(__file__).parent
DEFAULT = ("--values", HERE / "values.yaml")  # What has no default.
EVERYTHING = (*DEFAULT, "--values", HERE / "everything.yaml")  # All that is off by default is on.
STAGING = ("--values", CHART / "values-staging.yaml", "--set", "workerReplicas=2")
PRODUCTION = ("--values", CHART / "values-production.yaml", "--set", "workerReplicas=5")
DEPLOYMENTS = {"default": DEFAULT, "everything": EVERYTHING, "staging": STAGING, "production": PRODUCTION}
