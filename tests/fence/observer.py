"""What the database itself saw: the jobs' effects, and every change of a job's state and epoch.

Triggers do the writing, in the transaction that makes the change, so nothing here trusts the platform's code. No
unique constraint stands in `fence_effects`: it would hide a double by refusing it.
"""

from __future__ import annotations

from sqlalchemy import Column, Engine, Float, Integer, MetaData, String, Table, text
from sqlalchemy.engine import Connection

metadata = MetaData()

effects = Table(
    "fence_effects",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("label", String(64), nullable=False),
    Column("step", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("pid", Integer, nullable=False),
    # The job's row at the end of the transaction, as the trigger found it.
    Column("seen_epoch", Integer),
    Column("seen_state", String(16)),
)

arrows = Table(
    "fence_arrows",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(64), nullable=False),
    Column("old_state", String(16)),
    Column("new_state", String(16), nullable=False),
    Column("old_epoch", Integer),
    Column("new_epoch", Integer, nullable=False),
    Column("at", Float, nullable=False),  # Seconds since 1970.
)

marks = Table(
    "fence_marks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("scope", String(200), nullable=False),
    Column("step", String(200), nullable=False),
)

# What callers stored in the transaction in which they submitted.
notes = Table(
    "fence_notes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("label", String(64), nullable=False),
)

_SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_POSTGRESQL_NOW = "extract(epoch FROM clock_timestamp())"

_SQLITE = (
    f"""CREATE TRIGGER fence_born AFTER INSERT ON jobs BEGIN
         INSERT INTO fence_arrows (job_id, new_state, new_epoch, at)
         VALUES (NEW.id, NEW.state, NEW.epoch, {_SQLITE_NOW}); END""",
    f"""CREATE TRIGGER fence_moved AFTER UPDATE ON jobs
         WHEN OLD.state <> NEW.state OR OLD.epoch <> NEW.epoch BEGIN
         INSERT INTO fence_arrows (job_id, old_state, new_state, old_epoch, new_epoch, at)
         VALUES (NEW.id, OLD.state, NEW.state, OLD.epoch, NEW.epoch, {_SQLITE_NOW}); END""",
    """CREATE TRIGGER fence_marked AFTER UPDATE ON steps
         WHEN NEW.state = 'done' AND (OLD.state <> 'done' OR OLD.finished_at IS NOT NEW.finished_at) BEGIN
         INSERT INTO fence_marks (scope, step) VALUES (NEW.scope, NEW.name); END""",
    """CREATE TRIGGER fence_marked_new AFTER INSERT ON steps WHEN NEW.state = 'done' BEGIN
         INSERT INTO fence_marks (scope, step) VALUES (NEW.scope, NEW.name); END""",
    # One writer at a time: what the row says at the insert it says at the commit.
    """CREATE TRIGGER fence_seen AFTER INSERT ON fence_effects BEGIN
         UPDATE fence_effects SET seen_epoch = (SELECT epoch FROM jobs WHERE id = NEW.job_id),
           seen_state = (SELECT state FROM jobs WHERE id = NEW.job_id) WHERE id = NEW.id; END""",
)

_POSTGRESQL = (
    f"""CREATE FUNCTION fence_arrow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF TG_OP = 'INSERT' THEN
           INSERT INTO fence_arrows (job_id, new_state, new_epoch, at)
           VALUES (NEW.id, NEW.state, NEW.epoch, {_POSTGRESQL_NOW});
         ELSIF OLD.state <> NEW.state OR OLD.epoch <> NEW.epoch THEN
           INSERT INTO fence_arrows (job_id, old_state, new_state, old_epoch, new_epoch, at)
           VALUES (NEW.id, OLD.state, NEW.state, OLD.epoch, NEW.epoch, {_POSTGRESQL_NOW});
         END IF; RETURN NULL; END $$""",
    """CREATE TRIGGER fence_moved AFTER INSERT OR UPDATE ON jobs
         FOR EACH ROW EXECUTE FUNCTION fence_arrow()""",
    """CREATE FUNCTION fence_mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF NEW.state = 'done' AND (TG_OP = 'INSERT' OR OLD.state <> 'done'
             OR OLD.finished_at IS DISTINCT FROM NEW.finished_at) THEN
           INSERT INTO fence_marks (scope, step) VALUES (NEW.scope, NEW.name);
         END IF; RETURN NULL; END $$""",
    """CREATE TRIGGER fence_marked AFTER INSERT OR UPDATE ON steps
         FOR EACH ROW EXECUTE FUNCTION fence_mark()""",
    """CREATE FUNCTION fence_see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         UPDATE fence_effects e SET seen_epoch = j.epoch, seen_state = j.state
           FROM jobs j WHERE j.id = NEW.job_id AND e.id = NEW.id; RETURN NULL; END $$""",
    # Deferred to the commit, the last moment at which the fence can still be broken.
    """CREATE CONSTRAINT TRIGGER fence_seen AFTER INSERT ON fence_effects DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION fence_see()""",
)


def install(engine: Engine) -> None:
    """Put tables and triggers into a migrated ledger that has none yet."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        for statement in _SQLITE if engine.dialect.name == "sqlite" else _POSTGRESQL:
            connection.exec_driver_sql(statement)


def empty(connection: Connection) -> None:
    """Forget the last round: the ledger's jobs with all that hangs on them, its schedules, and what was observed."""
    for table in ("attempts", "steps", "keys", "alerts", "jobs", "schedules", *metadata.tables):
        connection.execute(text(f"DELETE FROM {table}"))
