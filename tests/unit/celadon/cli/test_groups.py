"""The command itself: its help, and errors in one sentence."""

from __future__ import annotations

import sys

import pytest

from tests.contract.pointed import pointed
from tests.unit.celadon.cli.given import celadon, refused


def test_without_a_command_it_tells_what_there_is():
    output = celadon("--help").output

    jobs = ("job", "jobs", "cancel", "replay", "run-now", "reschedule")
    turned = ("schedules", "limits", "switch", "switches", "pause", "resume", "keys")
    for command in ("init", "migrate", "worker", "beat", "web", *jobs, *turned):
        assert f"  {command}" in output


def test_it_tells_its_version():
    assert celadon("--version").output.startswith("celadon, version ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ledger_url": "sqlite:////no/such/folder/x.db"}, "The ledger's database can't be reached"),
        ({"ledger_url": "postgresql+psycopg://nobody@127.0.0.1:1/x"}, "The ledger's database can't be reached"),
        ({"ledger_url": "mysql://h/x"}, "runs on sqlite or postgresql"),
        ({"ledger_url": "nonsense"}, "LEDGER_URL"),
        ({"lease_s": "soon"}, "LEASE_S"),
    ],
    ids=["no folder", "no server", "no such kind", "no address", "bad setting"],
)
def test_a_ledger_that_can_not_be_had_is_told_in_one_sentence(changes, told):
    with pointed(**changes):
        output = refused("job", "x")

    assert output.startswith("Error: ")
    assert told in output


def test_a_driver_that_is_not_installed_is_told_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pointed(ledger_url="postgresql://nobody@127.0.0.1:1/x"):
        assert "pip install 'celadon[postgresql]'" in refused("job", "x")
