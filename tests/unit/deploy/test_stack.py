"""Everything that runs on one machine, made from the table of lanes, and the files it reads."""

from configparser import RawConfigParser
from pathlib import Path

import pytest

from celadon.delegation import file as registration
from celadon.settings import overridden
from celeryconfig import lanes
from deploy.configuration import configuration, write
from deploy.environment import Secrets
from deploy.stack import Ports, Stack
from deploy.supervision import free_ports

SECRETS = Secrets(
    secret_key="for-cookies",
    flower_basic_auth="celadon:for-people",
    flower_cookie_secret="for-flower",
    flower_redis_password="for-redis",
)


def stack(folder: Path, **options: object) -> Stack:
    ports = Ports(web=1, redis=2, mail=3, flower=4, metrics=9101)
    return Stack(folder=folder, **{"ports": ports, **options})  # type: ignore[arg-type]


def parsed(text: str) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(text)
    return parser


def programs(text: str) -> set[str]:
    return {name.removeprefix("program:") for name in parsed(text).sections() if name.startswith("program:")}


def environments(made: Stack) -> dict[str, dict[str, str]]:
    return {program.name: program.environment for program in made.programs()}


def test_every_lane_has_a_worker_of_its_own(tmp_path: Path) -> None:
    text = configuration(stack(tmp_path), tmp_path / "s")
    assert programs(text) == {"redis", "mail", "web", "beat", *(f"worker-{lane}" for lane in lanes)}


def test_a_worker_may_take_its_lanes_grace_to_stop_on_sigterm(tmp_path: Path) -> None:
    text = parsed(configuration(stack(tmp_path), tmp_path / "s"))
    for lane, how in lanes.items():
        section = text[f"program:worker-{lane}"]
        assert (section["stopsignal"], section["stopwaitsecs"]) == ("TERM", str(how["grace_s"]))


def test_a_lane_may_have_several_workers(tmp_path: Path) -> None:
    made = stack(tmp_path, copies={"default": 2})
    workers = {program.name: program.command[1:] for program in made.programs() if "worker" in program.name}
    assert workers["worker-default"] == workers["worker-default-2"] == ["worker", "default"]
    assert len(workers) == len(lanes) + 1
    assert len(set(made.metrics_ports().values())) == len(made.metrics_ports()) == 2 + len(workers)


def test_the_delegated_lane_has_a_worker_only_if_there_are_delegated_queues(tmp_path: Path) -> None:
    nothing = tmp_path / "delegation.toml"
    nothing.write_text("[queues]\n")
    with overridden(delegation_file=nothing):
        registration.forget()
        without = set(stack(tmp_path).metrics_ports())
        alone = set(stack(tmp_path, copies={"delegated": 2}).metrics_ports())
    registration.forget()

    assert without == {"web", "beat", *(f"worker-{lane}" for lane in lanes if lane != "delegated")}
    assert alone - without == {"worker-delegated", "worker-delegated-2"}


def test_flower_speaks_to_redis_as_the_user_who_only_watches(tmp_path: Path) -> None:
    told = environments(stack(tmp_path, secrets=SECRETS))
    assert told["flower"] == {
        "BROKER_URL": "redis://flower:for-redis@127.0.0.1:2/0",
        "FLOWER_BASIC_AUTH": "celadon:for-people",
        "FLOWER_COOKIE_SECRET": "for-flower",
    }
    assert "flower" not in environments(stack(tmp_path))


def test_flower_waits_for_whoever_starts_the_stack(tmp_path: Path) -> None:
    text = parsed(configuration(stack(tmp_path, secrets=SECRETS), tmp_path / "s"))
    sections = [name for name in text.sections() if name.startswith("program:")]
    assert [name for name in sections if text[name]["autostart"] == "false"] == ["program:flower"]


def test_no_other_program_is_told_the_passwords_of_flower(tmp_path: Path) -> None:
    made = stack(tmp_path, secrets=SECRETS)
    others = [made.environment, *(told for name, told in environments(made).items() if name != "flower")]
    assert not [told for told in others if "for-people" in str(told) or "for-redis" in str(told)]
    assert made.environment["SECRET_KEY"] == "for-cookies"


def test_files_with_secrets_are_their_owners_alone(tmp_path: Path) -> None:
    made = stack(tmp_path, secrets=SECRETS)
    path = write(made, tmp_path / "s")
    for file, secret in ((path, "for-people"), (made.redis_users, ">for-redis ")):
        assert secret in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
    assert str(made.redis_users) in parsed(path.read_text())["program:redis"]["command"]


def test_web_beat_and_each_worker_serve_metrics_at_ports_of_their_own(tmp_path: Path) -> None:
    made = stack(tmp_path, secrets=SECRETS)
    served = {name: told["METRICS_BIND"] for name, told in environments(made).items() if "METRICS_BIND" in told}
    assert served == {name: f"127.0.0.1:{port}" for name, port in made.metrics_ports().items()}
    assert made.metrics_ports() == {
        "web": 9101,
        "beat": 9102,
        **{f"worker-{lane}": port for port, lane in enumerate(lanes, 9103)},
    }


def test_without_a_port_for_metrics_none_are_served(tmp_path: Path) -> None:
    made = stack(tmp_path, ports=Ports(web=1, redis=2, mail=3, flower=4))
    assert made.metrics_ports() == {}
    assert "METRICS_BIND" not in str(environments(made))


def test_workers_and_beat_keep_heartbeats_in_a_folder_that_is_there(tmp_path: Path) -> None:
    made = stack(tmp_path)
    write(made, tmp_path / "s")
    kept = {name: Path(told["HEARTBEAT_FILE"]) for name, told in environments(made).items() if "HEARTBEAT_FILE" in told}
    assert set(kept) == {"beat", *(f"worker-{lane}" for lane in lanes)}
    assert len(set(kept.values())) == len(kept)
    assert all(file.parent.is_dir() for file in kept.values())


def test_each_program_can_be_started_alone(tmp_path: Path) -> None:
    made = stack(tmp_path, secrets=SECRETS)
    for program in made.programs():
        assert programs(configuration(made, tmp_path / "s", [program.name])) == {program.name}


def test_programs_started_beside_others_leave_their_configuration_as_it_is(tmp_path: Path) -> None:
    made = stack(tmp_path)
    first = write(made, tmp_path / "one" / "supervisor.sock")
    before = first.read_text()
    beside = write(made, tmp_path / "two" / "supervisor.sock", ["worker-default"])
    assert (first.name, first.read_text()) == ("supervisord.conf", before)
    assert beside.name == "supervisord-worker-default.conf"
    sections = [parsed(file.read_text())["supervisord"] for file in (first, beside)]
    assert len({section["pidfile"] for section in sections}) == 2


def test_an_unknown_program_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no program named wroker; there are: redis, mail, web"):
        stack(tmp_path).chosen(["redis", "wroker"])


def test_a_percent_sign_and_a_space_in_a_path_survive(tmp_path: Path) -> None:
    folder = tmp_path / "50% of it"
    text = parsed(configuration(stack(folder), tmp_path / "s"))
    assert f"'{folder}'".replace("%", "%%") in text["program:redis"]["command"]


def test_one_lane_may_get_settings_of_its_own(tmp_path: Path) -> None:
    told = environments(stack(tmp_path, lane_settings={"default": {"LEASE_S": "5"}}))
    assert told["worker-default"]["LEASE_S"] == "5"
    assert "LEASE_S" not in told["worker-scheduled"]


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20
