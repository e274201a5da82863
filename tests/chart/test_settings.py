"""Each process gets the settings it uses, from where they belong, and no secret that it has no use for."""

from __future__ import annotations

import json
import re

import pytest

from celadon.settings import Settings
from docs.reference.generate_settings import operators_variables
from tests.chart.rendering import CHART, DEFAULT, EVERYTHING, PRODUCTION, VALUES, render

KNOWN = {name.upper() for name in Settings.model_fields} | {name for name, *_ in operators_variables()}
CHARTS_OWN = {"WEB_BIND", "METRICS_BIND", "FLEET_HOST", "HEARTBEAT_FILE", "BEAT_GENERATION"}
FLOWERS = {f"FLOWER_{name}" for name in ("BASIC_AUTH", "COOKIE_SECRET", "ENABLE_EVENTS", "URL_PREFIX")}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())["properties"]

WORKS = {"LEDGER_URL", "BROKER_URL", "REDIS_URL", "SMTP_URL", "SENTRY_DSN"}
SECRETS_OF = {
    "web": WORKS | {"SECRET_KEY"},
    "worker-default": WORKS,
    "worker-data-sync": WORKS,
    "worker-scheduled": WORKS,
    "worker-delegated": WORKS,
    "beat": WORKS,
    "flower": {"BROKER_URL", "FLOWER_BASIC_AUTH", "FLOWER_COOKIE_SECRET"},
    "migrate": {"LEDGER_URL"},
}


def test_every_setting_has_one_place_in_the_values():
    config, secrets = set(SCHEMA["config"]["properties"]), set(SCHEMA["secrets"]["properties"])
    assert config | (secrets & KNOWN) | CHARTS_OWN == KNOWN
    assert not config & secrets
    assert not config & CHARTS_OWN


def test_the_schema_and_the_documented_values_name_the_same_keys():
    assert set(VALUES) | {"global", "workerReplicas"} == set(SCHEMA)
    for part in ("image", "secrets", "web", "beat", "flower", "migrate", "networkPolicy", "delegation"):
        assert set(VALUES[part]) == set(SCHEMA[part]["properties"]), part


def test_every_variable_that_a_container_gets_is_a_setting(rendered):
    for name in rendered.containers():
        assert set(rendered.environment(name)) <= KNOWN | FLOWERS


def test_a_process_gets_the_secrets_it_uses_and_no_other(rendered):
    for name, container in rendered.containers().items():
        given = {entry["name"] for entry in container["env"] if "valueFrom" in entry}
        assert given == SECRETS_OF[name.removeprefix("celadon-")], name


def test_flower_connects_as_the_redis_user_that_may_only_watch():
    assert render(*DEFAULT).environment("celadon-flower")["BROKER_URL"] == "celadon/FLOWER_BROKER_URL"


def test_secrets_stand_in_secrets_only():
    rendered = render(*EVERYTHING)
    for manifest in rendered.manifests:
        shown = re.findall(r"secret-(?:ledger|broker|smtp|key|flower|auth|cookies|redis|dsn)", json.dumps(manifest))
        assert (manifest["kind"] == "Secret") == bool(shown), f"{manifest['kind']} shows {shown}"


def test_what_is_required_is_in_the_secret_and_what_is_optional_may_be_missing():
    rendered = render(*DEFAULT)
    (held,) = (set(secret["stringData"]) for name, secret in rendered.of("Secret").items() if name == "celadon")
    for name, container in rendered.containers().items():
        if name == "celadon-migrate":
            continue
        refs = [entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry]
        assert {ref["name"] for ref in refs} == {"celadon"}
        assert {ref["key"] for ref in refs if not ref.get("optional")} <= held


def test_with_a_secret_of_ones_own_the_chart_makes_none_and_uses_it_everywhere():
    rendered = render(*PRODUCTION, "--set", "existingSecret=mine")
    assert rendered.of("Secret") == {}
    used = {
        entry["valueFrom"]["secretKeyRef"]["name"]
        for container in rendered.containers().values()
        for entry in container["env"]
        if "valueFrom" in entry
    }
    assert used == {"mine"}


def test_migrations_come_first_and_bring_what_they_need():
    rendered = render(*DEFAULT)
    hooks = {
        (m["kind"], m["metadata"]["name"]): m["metadata"]["annotations"]
        for m in rendered.manifests
        if "helm.sh/hook" in m["metadata"].get("annotations", {})
    }
    assert set(hooks) == {("Secret", "celadon-migrate"), ("Job", "celadon-migrate")}
    assert {annotations["helm.sh/hook"] for annotations in hooks.values()} == {"pre-install,pre-upgrade"}
    weights = {kind: int(annotations["helm.sh/hook-weight"]) for (kind, _), annotations in hooks.items()}
    assert weights["Secret"] < weights["Job"]
    # The failed Job is kept to be read, until the next one comes.
    assert {a["helm.sh/hook-delete-policy"] for a in hooks.values()} == {"before-hook-creation,hook-succeeded"}
    # Nothing of the release is there yet: no Secret, ConfigMap or ServiceAccount but the hook's own.
    job = rendered.pods()["celadon-migrate"]["spec"]
    assert "serviceAccountName" not in job
    assert "envFrom" not in job["containers"][0]
    assert rendered.environment("celadon-migrate")["LEDGER_URL"] == "celadon-migrate/LEDGER_URL"
    assert set(VALUES["config"]) <= set(rendered.environment("celadon-migrate"))


def test_a_migration_that_fails_has_failed_before_helm_is_tired_of_waiting():
    job = render(*DEFAULT).one("Job", "celadon-migrate")["spec"]
    assert job["backoffLimit"] == 3
    assert job["activeDeadlineSeconds"] < 5 * 60  # `helm --timeout`, if nobody names another.


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("API_MAX_BULK_BYTES=8388608", "8388608"), ("LEDGER_TIMEOUT_S=0.8", "0.8"), ("USE_BROKER=false", "false")],
)
def test_a_setting_reaches_the_process_as_it_was_written(setting, expected, tmp_path):
    name, value = setting.split("=")
    file = tmp_path / "values.yaml"
    file.write_text(f"config: {{{name}: {value}}}\n")
    for rendered in (render(*DEFAULT, "--set", f"config.{setting}"), render(*DEFAULT, "--values", file)):
        assert rendered.one("ConfigMap", "celadon")["data"][name] == expected
        assert rendered.environment("celadon-migrate")[name] == expected
