"""Commands that begin an application and run its processes."""

from __future__ import annotations

from celadon import find
from tests.contract.pointed import pointed
from tests.unit.celadon.cli.given import celadon


def test_migrate_brings_a_new_database_up_to_date(tmp_path):
    with pointed(ledger_url=f"sqlite:///{tmp_path}/new.db", use_broker="false"):
        first, again = celadon("migrate"), celadon("migrate")

        assert first.output == again.output
        assert "celadon.ledger.migrations: up to date\n" in first.output
        assert "services.migrations: up to date\n" in first.output
        assert find("nobody") is None
