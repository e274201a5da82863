"""The tables of the services, as Alembic revisions; `celadon migrate` applies them."""
