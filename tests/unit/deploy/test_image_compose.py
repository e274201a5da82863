"""deploy/compose.yaml: its workers are the lanes, and nothing in it is open, unbounded or secret."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from celadon.settings import Settings
from celeryconfig import lanes
from docs.reference.generate_settings import operators_variables

DEPLOY = Path(__file__).parents[3] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = {name.removeprefix("worker-"): how for name, how in SERVICES.items() if name.startswith("worker-")}
ONE_SHOT = "migrate"
PORT = Settings.model_fields["port"].default
MARGIN_S = 5

OPERATORS = {name: str(default) for name, default, _ in operators_variables()}
KNOWN = {name.upper() for name in Settings.model_fields} | set(OPERATORS)
PLATFORM = ["web", "beat", ONE_SHOT, *(f"worker-{lane}" for lane in lanes)]


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return int(found[1])


def variables(*kinds: str) -> set[str]:
    """Names of variables that stand as `${NAME` + kind."""
    return {name for kind in kinds for name in re.findall(rf"(?<!\$)\$\{{(\w+){re.escape(kind)}", TEXT)}


def test_there_is_a_worker_for_each_lane_which_works_it_as_celeryconfig_says():
    assert set(WORKERS) == set(lanes)
    # No option: pool, concurrency and grace are the lane's own.
    assert {lane: how["command"] for lane, how in WORKERS.items()} == {lane: ["worker", lane] for lane in lanes}


def test_a_worker_gets_its_lanes_grace_to_stop():
    graces = {lane: seconds(how["stop_grace_period"]) for lane, how in WORKERS.items()}
    assert graces == {lane: how["grace_s"] + MARGIN_S for lane, how in lanes.items()}


def test_web_gets_the_time_that_a_fallback_may_take():
    budget = Settings.model_fields["inline_budget_s"].default
    assert seconds(SERVICES["web"]["stop_grace_period"]) >= budget + 10 + MARGIN_S


def test_everything_that_stays_is_watched_and_comes_back():
    stays = {name: how for name, how in SERVICES.items() if name not in (ONE_SHOT, "mail")}
    assert all("test" in how["healthcheck"] for how in stays.values())
    assert all(how["restart"] == "unless-stopped" for how in stays.values())
    assert SERVICES[ONE_SHOT]["restart"] == "no"


def test_workers_and_beat_are_healthy_by_their_heartbeat():
    for name in ["beat", *(f"worker-{lane}" for lane in lanes)]:
        file = SERVICES[name]["environment"]["HEARTBEAT_FILE"]
        (_, test) = SERVICES[name]["healthcheck"]["test"]
        assert f"test -e {file}.ready" in test
        assert f"find {file} -mmin -1" in test


def test_what_uses_the_ledger_waits_for_the_migration():
    for name in set(PLATFORM) - {ONE_SHOT}:
        assert SERVICES[name]["depends_on"][ONE_SHOT] == {"condition": "service_completed_successfully"}
    assert SERVICES[ONE_SHOT]["depends_on"]["postgres"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_writes_into_its_image_or_has_more_rights_than_none(name):
    how = SERVICES[name]
    assert how["read_only"] is True
    assert how["cap_drop"] == ["ALL"]
    assert "cap_add" not in how
    assert how["security_opt"] == ["no-new-privileges:true"]
    assert how["tmpfs"][0] == "/tmp:size=64m"
    assert "privileged" not in how


def test_only_the_database_keeps_anything():
    kept = {name: how["volumes"] for name, how in SERVICES.items() if "volumes" in how}
    assert set(COMPOSE["volumes"]) == {"postgres"}
    assert kept.pop("redis") == ["./redis-users.conf:/etc/redis/users.conf:ro"]
    assert kept.pop("postgres") == ["postgres:/var/lib/postgresql/data"]
    # Who submits, schedules or delivers reads the registration file.
    assert kept == {name: ["../delegation.toml:/app/delegation.toml:ro"] for name in set(PLATFORM) - {ONE_SHOT}}


def test_ports_are_published_on_this_host_only():
    published = {name: how["ports"] for name, how in SERVICES.items() if "ports" in how}
    assert set(published) == {"web", "flower", "worker-delegated"}
    assert published["worker-delegated"] == [f"127.0.0.1:${{FLEET_PORT:-{PORT}}}:{PORT}"]
    assert SERVICES["worker-delegated"]["environment"]["FLEET_HOST"] == "0.0.0.0"
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_images_have_a_version():
    tags = {how["image"].split(":")[1] for how in SERVICES.values()}
    assert "latest" not in tags
    assert {SERVICES[name]["image"] for name in PLATFORM} == {"celadon:local"}


def test_every_variable_of_the_platform_is_a_setting():
    assert [set(SERVICES[name]["environment"]) - KNOWN for name in PLATFORM] == [set()] * len(PLATFORM)


def test_what_the_operators_file_reads_can_be_set_and_has_its_default():
    told = dict(re.findall(r"^  (\w+): \$\{\1:-(.+)\}$", TEXT, re.M))
    # The generation is raised where the file is changed, and the image holds the file.
    wanted = {name: default for name, default in OPERATORS.items() if name != "BEAT_GENERATION"}
    assert {name: told.get(name) for name in wanted} == wanted


def test_flower_has_its_own_redis_user_and_no_way_to_the_ledger():
    environment = SERVICES["flower"]["environment"]
    assert environment["BROKER_URL"].startswith("redis://flower:${FLOWER_REDIS_PASSWORD:?")
    assert set(environment) - {"BROKER_URL"} == {
        f"FLOWER_{name}" for name in ("BASIC_AUTH", "COOKIE_SECRET", "ENABLE_EVENTS")
    }
    assert "user flower " in (DEPLOY / "redis-users.conf").read_text()
    (command,) = SERVICES["redis"]["command"]
    assert "s/>FLOWER_REDIS_PASSWORD/" in command
    assert ">FLOWER_REDIS_PASSWORD" in (DEPLOY / "redis-users.conf").read_text()


def test_a_full_redis_refuses_instead_of_forgetting():
    assert "--maxmemory-policy noeviction" in SERVICES["redis"]["command"][0]


def test_every_secret_must_be_given_and_every_other_variable_has_a_default():
    example = (DEPLOY / "compose.env.example").read_text()
    required, optional = re.findall(r"^(\w+)=$", example, re.M), re.findall(r"^#(\w+)=", example, re.M)
    assert variables(":?") == set(required)
    assert variables(":-") == set(optional)
    assert variables("") == set(required) | set(optional)


def test_the_guide_names_every_service_and_every_role():
    page = (DEPLOY.parent / "docs" / "guides" / "containers.md").read_text()
    tables = [re.findall(r"`([\w-]+)`", row) for row in re.findall(r"^\| (`.*?) \|", page, re.M)]
    assert {name for row in tables for name in row} == set(SERVICES)
    up = "docker compose --file deploy/compose.yaml --env-file deploy/compose.env up --detach --build --wait"
    assert f"#   {up}\n" in TEXT
    assert f"$ {up}\n" in page


def test_a_file_of_fresh_secrets_is_written_once_and_for_its_owner_alone(tmp_path):
    file = tmp_path / "compose.env"
    write = [DEPLOY / "compose-env.sh", file]
    subprocess.run(write, check=True, capture_output=True)
    values = dict(line.split("=", 1) for line in file.read_text().splitlines() if line and not line.startswith("#"))
    assert set(values) == variables(":?")
    assert len(set(values.values())) == len(values)
    assert all(re.fullmatch(r"(admin:)?[0-9a-f]{24,48}", value) for value in values.values())
    assert file.stat().st_mode & 0o777 == 0o600
    again = subprocess.run(write, check=False, capture_output=True, text=True)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


def test_without_openssl_no_secrets_are_written_and_none_are_empty(tmp_path, monkeypatch):
    for tool in ("dirname", "mv", "rm"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    shell = shutil.which("sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    command = [str(shell), DEPLOY / "compose-env.sh", tmp_path / "compose.env"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "openssl" in done.stderr
    assert not list(tmp_path.glob("compose.env*"))
