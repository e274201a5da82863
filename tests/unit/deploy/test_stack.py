"""One supervisor configuration, made from the table of lanes."""

from configparser import RawConfigParser
from pathlib import Path

import pytest

from celeryconfig import lanes
from deploy.stack import Ports, Stack, redis_server
from deploy.supervision import free_ports


def stack(folder: Path, **options: object) -> Stack:
    return Stack(folder=folder, ports=Ports(web=1, redis=2, mail=3, flower=4), **options)  # type: ignore[arg-type]


def parsed(text: str) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(text)
    return parser


def programs(text: str) -> set[str]:
    return {name.removeprefix("program:") for name in parsed(text).sections() if name.startswith("program:")}


def test_every_lane_has_a_worker_of_its_own(tmp_path: Path) -> None:
    text = stack(tmp_path).configuration(tmp_path / "s")
    assert programs(text) == {"redis", "mail", "web", "beat", *(f"worker-{lane}" for lane in lanes)}


def test_a_worker_may_take_its_lanes_grace_to_stop_on_sigterm(tmp_path: Path) -> None:
    text = parsed(stack(tmp_path).configuration(tmp_path / "s"))
    for lane, how in lanes.items():
        section = text[f"program:worker-{lane}"]
        assert (section["stopsignal"], section["stopwaitsecs"]) == ("TERM", str(how["grace_s"]))


def test_flower_runs_when_asked_for(tmp_path: Path) -> None:
    assert "flower" in programs(stack(tmp_path, flower=True).configuration(tmp_path / "s"))


def test_each_program_can_be_started_alone(tmp_path: Path) -> None:
    made = stack(tmp_path, flower=True)
    for program in made.programs():
        assert programs(made.configuration(tmp_path / "s", [program.name])) == {program.name}


def test_an_unknown_program_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no program named wroker; there are: redis, mail, web"):
        stack(tmp_path).configuration(tmp_path / "s", ["wroker"])


def test_a_percent_sign_and_a_space_in_a_path_survive(tmp_path: Path) -> None:
    folder = tmp_path / "50% of it"
    text = parsed(stack(folder).configuration(tmp_path / "s"))
    assert f"'{folder}'".replace("%", "%%") in text["program:redis"]["command"]


def test_one_lane_may_get_settings_of_its_own(tmp_path: Path) -> None:
    made = stack(tmp_path, lane_settings={"default": {"LEASE_S": "5"}})
    text = parsed(made.configuration(tmp_path / "s"))
    assert text["program:worker-default"]["environment"] == 'LEASE_S="5"'
    assert text["program:worker-scheduled"]["environment"] == ""


def test_a_redis_compatible_server_is_always_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    embedded = Path(redis_server())
    assert embedded.name == "valkey-server"
    assert embedded.exists()


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20
