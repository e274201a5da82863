"""The ledger: every job is a row here before anything else happens. The only place that speaks SQL about jobs."""

from celadon.ledger.db import session

__all__ = ["session"]
