"""Queues and lanes, as the operator's file declares them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from celadon import lanes, queues
from celadon.delegation import file
from celadon.errors import CeladonError, UnknownQueue
from tests.contract.pointed import pointed

LANE: dict[str, Any] = {
    "queues": ("q",),
    "pool": "threads",
    "concurrency": 1,
    "prefetch": 1,
    "timeout_s": 60,
    "grace_s": 5,
    "visibility_s": 60,
    "fallback": "inline",
}
Declare = Callable[..., None]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Let the operator's file say this."""
    module = ModuleType("an_operators_file")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def say(**names: object) -> None:
        vars(module).update(names)
        _read_anew()

    with pointed(celery_config_module=module.__name__):
        say()
        yield say
    _read_anew()


def _read_anew() -> None:
    lanes.operators_file.cache_clear()
    lanes.declared.cache_clear()
    file.forget()


def test_each_lane_has_its_queues_and_every_queue_its_lane():
    assert set(queues.lanes()) == {"default", "data_sync", "scheduled", "delegated"}
    for name, lane in queues.lanes().items():
        assert all(queues.lane_of(queue).name == name for queue in lane.queues)


def test_a_lane_without_a_lease_of_its_own_has_the_general_one():
    with pointed(lease_s="6", renew_s="2"):
        assert queues.lane("default").lease == 6
        assert queues.lane("data_sync").lease == 30


def test_an_unknown_queue_or_lane_is_told_with_those_that_there_are():
    with pytest.raises(UnknownQueue, match="No lane works the queue 'nope'; there are: data_sync, default") as error:
        queues.lane_of("nope")
    assert error.value.queue == "nope"
    with pytest.raises(CeladonError, match="no lane 'nope'; there are: default"):
        queues.lane("nope")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"pool": "gevent"}, r"lanes\['a'\].*'gevent'"),
        ({"fallback": "pray"}, "'pray'"),
        ({"concurrency": 0}, r"concurrency at least 1 \(here 0\)"),
        ({"colour": "green"}, r"lanes\['a'\].*colour"),
    ],
)
def test_a_lane_that_can_not_work_is_refused_by_name(declare, wrong, told):
    declare(lanes={"a": {**LANE, **wrong}})

    with pytest.raises(CeladonError, match=told):
        queues.lanes()


def test_a_queue_in_two_lanes_is_refused(declare):
    declare(lanes={"a": LANE, "b": LANE})

    with pytest.raises(CeladonError, match="queue 'q' is in 'a' and in 'b'; keep one"):
        queues.lanes()


def test_a_file_without_lanes_is_refused(declare):
    with pytest.raises(CeladonError, match="declares no lanes"):
        queues.lanes()


def test_a_missing_file_is_told_with_the_cure():
    queues.operators_file.cache_clear()
    try:
        with (
            pointed(celery_config_module="no_such_module"),
            pytest.raises(CeladonError, match="'no_such_module' is not found; run from the folder"),
        ):
            queues.operators_file()
    finally:
        queues.operators_file.cache_clear()


@pytest.mark.parametrize(
    ("name", "declared", "delayed", "queue"),
    [
        ("reports.daily", None, False, "data_sync"),
        ("orders.process", None, False, "default"),
        ("other.thing", None, False, "default"),
        ("reports.daily", None, True, "scheduled"),
        ("reports.daily", "default", True, "default"),
        ("other.thing", "data_sync", False, "data_sync"),
    ],
)
def test_a_job_goes_where_it_is_declared_or_is_due_or_is_routed(name, declared, delayed, queue):
    assert queues.queue_for(name, declared=declared, delayed=delayed) == queue
