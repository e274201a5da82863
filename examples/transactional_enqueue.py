"""Storing a row and submitting its job in one transaction: both or neither.

Run it: `.venv/bin/python -m examples.transactional_enqueue`
"""

from __future__ import annotations

from sqlalchemy import text

from celadon import find, job, submit
from celadon.ledger import session
from examples.scratch import scratch_ledger


@job("examples.index_article")
def index_article(article_id: int) -> int:
    return article_id


def main() -> None:
    with scratch_ledger():
        with session() as own:
            own.execute(text("CREATE TABLE articles (id INTEGER NOT NULL)"))
            own.commit()

        with session() as own:
            own.execute(text("INSERT INTO articles VALUES (1)"))
            receipt = submit("examples.index_article", {"article_id": 1}, session=own)
            print(f"before the commit: {receipt.outcome}")
            own.commit()  # From here on both exist; sending, or falling back, happens now.
        print(f"after the commit: {receipt.outcome}")

        with session() as own:
            own.execute(text("INSERT INTO articles VALUES (2)"))
            withdrawn = submit("examples.index_article", {"article_id": 2}, session=own)
            own.rollback()
        print(f"after a rollback: {withdrawn.reason}; job in the ledger: {find(withdrawn.job_id)}")


if __name__ == "__main__":
    main()
