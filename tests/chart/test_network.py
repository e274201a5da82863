"""Who reaches which port: Services, the Ingress in front of web, and policies that close the rest."""

from __future__ import annotations

import pytest
import yaml

from tests.chart.rendering import DEFAULT, EVERYTHING, HERE, Manifest, Rendered, render

PEERS = yaml.safe_load((HERE / "everything.yaml").read_text())["networkPolicy"]
PORTS = {"web": 8000, "flower": 5555, "worker-delegated": 3019}
FROM = {"web": "webFrom", "flower": "flowerFrom", "worker-delegated": "statusFrom"}


def ports(rendered: Rendered, name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in rendered.containers()[name]["ports"]}


def closed_but(policy: Manifest) -> tuple[dict[str, str], list[Manifest]]:
    """Which pods a policy closes, and what it leaves open."""
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    return policy["spec"]["podSelector"]["matchLabels"], policy["spec"]["ingress"]


def test_web_flower_and_the_fleet_have_a_service_each_which_leads_to_where_they_listen(rendered):
    services = rendered.of("Service")
    assert set(services) == {f"celadon-{name}" for name in PORTS}
    for name, port in PORTS.items():
        (leads,) = services[f"celadon-{name}"]["spec"]["ports"]
        assert leads["port"] == 80
        assert ports(rendered, f"celadon-{name}")[leads["targetPort"]] == port
    assert rendered.environment("celadon-web")["WEB_BIND"] == "0.0.0.0:8000"
    assert rendered.environment("celadon-worker-delegated")["FLEET_HOST"] == "0.0.0.0"


def test_an_ingress_leads_its_host_to_the_service_of_web():
    rendered = render(*EVERYTHING)
    ingress = rendered.one("Ingress", "celadon-web")
    assert ingress["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"}
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["shop.example.org"], "secretName": "shop-tls"}]
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "shop.example.org"
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    (port,) = rendered.one("Service", path["backend"]["service"]["name"])["spec"]["ports"]
    assert path["backend"]["service"]["port"] == {"name": port["name"]}


def test_without_a_certificate_an_ingress_has_no_tls():
    rendered = render(*EVERYTHING, "--set", "web.ingress.tlsSecret=")
    assert "tls" not in rendered.one("Ingress", "celadon-web")["spec"]


def test_policies_close_every_port_but_those_and_open_them_to_the_peers_named():
    rendered = render(*EVERYTHING)
    policies = rendered.of("NetworkPolicy")
    assert set(policies) == {"celadon-metrics", *(f"celadon-{name}" for name in PORTS)}
    pods, left = closed_but(policies["celadon-metrics"])
    assert all(pods.items() <= pod["metadata"]["labels"].items() for pod in rendered.pods().values())
    assert left == [{"ports": [{"port": 9464}], "from": PEERS["metricsFrom"]}]
    for name, port in PORTS.items():
        pods, left = closed_but(policies[f"celadon-{name}"])
        assert pods == rendered.one("Service", f"celadon-{name}")["spec"]["selector"]
        assert left == [{"ports": [{"port": port}], "from": PEERS[FROM[name]]}]


@pytest.mark.parametrize("name", ["metrics", *PORTS])
def test_a_policy_without_peers_is_for_everybody(name):
    rendered = render(*DEFAULT, "--set", "networkPolicy.enabled=true")
    (left,) = closed_but(rendered.one("NetworkPolicy", f"celadon-{name}"))[1]
    assert set(left) == {"ports"}


def test_without_being_asked_for_there_is_neither_ingress_nor_policy():
    rendered = render(*DEFAULT)
    assert rendered.of("Ingress") == rendered.of("NetworkPolicy") == {}


def test_the_port_of_the_fleet_is_the_setting_s_own():
    rendered = render(*EVERYTHING, "--set", "config.PORT=4000")
    assert ports(rendered, "celadon-worker-delegated")["status"] == 4000
    assert rendered.environment("celadon-worker-delegated")["PORT"] == "4000"
    (left,) = closed_but(rendered.one("NetworkPolicy", "celadon-worker-delegated"))[1]
    assert left["ports"] == [{"port": 4000}]
