"""An engine for the ledger's address: what is refused, and what PostgreSQL is told."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from celadon.errors import CeladonError
from celadon.ledger.engines import make_engine
from tests.ledgers import Ledgers


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("nonsense", "write sqlite:///celadon.db"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("mysql+pymysql://somewhere/db", "runs on sqlite or postgresql"),
    ],
)
def test_another_database_is_refused_with_the_cure(url, cure):
    with pytest.raises(CeladonError, match=cure):
        make_engine(url)


def test_postgresql_compiles_no_statement_of_ours_to_machine_code(ledgers: Ledgers):
    """That takes it half a second, and without statistics it believes any statement to be worth it."""
    engine = make_engine(ledgers.fresh("postgresql"))
    try:
        with engine.connect() as connection:
            assert connection.execute(text("SHOW jit")).scalar_one() == "off"
    finally:
        engine.dispose()
