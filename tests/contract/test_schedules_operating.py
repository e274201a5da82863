"""What people do with schedules: add, edit, pause, resume, run now, remove, preview."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

import tests.contract.jobs  # noqa: F401 (declares the jobs that schedules name)
from celadon import plans, schedules
from celadon.errors import (
    CeladonError,
    InvalidOption,
    InvalidPayload,
    LedgerUnavailable,
    NotAllowed,
    PayloadTooLarge,
    UnknownJob,
    UnknownQueue,
    UnknownSchedule,
)
from celadon.ledger import bounded, claims, moving
from celadon.ledger import schedules as rows
from celadon.ledger.db import at, begin, clock, reading
from celadon.ledger.schedules import Entry
from celadon.ledger.tables import audit, jobs
from celadon.ledger.tables import schedules as table
from celadon.schedules import ScheduleView
from celadon.states import State
from tests.contract.given import ON_POSTGRESQL, a_claim, a_job, count, race, row
from tests.eventually import eventually

pytestmark = pytest.mark.usefixtures("ledger")

# What is refused before any database is asked is refused on both.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
FAR = datetime(2199, 1, 1, tzinfo=UTC)
WORD = {"word": "w"}


def add(name: str = "report", **facts: Any) -> ScheduleView:
    when = {} if facts.keys() & {"crontab", "every", "at"} else {"every": 3600}
    return schedules.add(name, **{"job": "contract.inline", "payload": WORD, **when, **facts})


def configured(name: str = "nightly") -> None:
    spec = {"every_s": 3600.0}
    rows.sync([Entry(name=name, job="contract.inline", spec=spec, payload=WORD)], 1)


def now() -> datetime:
    with reading() as connection:
        return clock(connection)


def change(**values: object) -> None:
    with begin() as connection:
        connection.execute(update(table).values(**values))


def audited() -> list[tuple[str, str, str]]:
    with reading() as connection:
        notes = connection.execute(select(audit.c.actor, audit.c.action, audit.c.subject).order_by(audit.c.id))
        return [(note.actor, note.action, note.subject) for note in notes]


def test_a_schedule_that_is_added_is_told_as_it_stands():
    made = add(
        crontab="30 2 * * mon-fri",
        timezone="Europe/Berlin",
        queue="data_sync",
        missed="all",
        missed_max=3,
        overlap="queue",
        jitter_s=90,
        ends_at=FAR,
        actor="ada",
    )

    assert schedules.find("report") == made
    assert schedules.every() == [made]
    assert (made.job, made.payload, made.queue, made.source) == ("contract.inline", WORD, "data_sync", "api")
    assert (made.when, made.status, made.reason) == ("30 2 * * mon-fri Europe/Berlin", "active", None)
    assert (made.missed, made.missed_max, made.overlap, made.jitter_s) == ("all", 3, "queue", 90.0)
    assert (made.starts_at, made.ends_at, made.last_job) == (None, FAR, None)
    assert made.next_due is not None
    assert made.next_due > now()
    assert audited() == [("ada", "add schedule", "report")]
    assert made.as_dict()["ends_at"] == "2199-01-01T00:00:00.000Z"
    assert "payload" not in made.as_dict()


@pytest.mark.parametrize("when", [{"every": 90}, {"every": timedelta(seconds=90)}], ids=str)
def test_an_interval_is_given_in_seconds_or_as_a_timedelta(when):
    assert add(**when).when == "every 90 s"


def test_a_one_off_has_one_due_time():
    made = add(at=datetime(2199, 1, 1, 9, tzinfo=UTC))

    assert made.when == "once at 2199-01-01 09:00:00 UTC"
    assert schedules.preview("report") == [made.next_due]


REFUSED: list[tuple[dict[str, Any], type[CeladonError], str]] = [
    ({"crontab": "61 * * * *"}, InvalidOption, "minute='61'"),
    ({"crontab": "0 0 31 2 *"}, InvalidOption, "'0 0 31 2 [*]' never comes"),
    ({"crontab": ""}, InvalidOption, "has 0 fields"),
    ({"crontab": "0 6 * * *", "timezone": "Mars/Olympus"}, InvalidOption, "timezone='Mars/Olympus' is not known"),
    ({"every": 60, "timezone": "Europe/Berlin"}, InvalidOption, "timezone='Europe/Berlin' is for a crontab"),
    ({"every": 0.2}, InvalidOption, "every=0.2: from 1 s"),
    ({"every": 60, "crontab": "* * * * *"}, InvalidOption, "crontab and every was given; give one of"),
    ({"every": None}, InvalidOption, "nothing was given; give one of crontab, every and at"),
    ({"at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidOption, "at=2020-01-01.*no due time is left"),
    ({"at": datetime(2199, 1, 1)}, InvalidOption, "has no time zone"),  # noqa: DTZ001
    ({"ends_at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidOption, "ends_at=2020-01-01.*no due time is left"),
    ({"starts_at": FAR, "ends_at": FAR - timedelta(1)}, InvalidOption, "ends_at=.*is before starts_at="),
    ({"at": FAR, "starts_at": FAR + timedelta(1)}, InvalidOption, "starts_at=.*no due time comes from then on"),
    ({"starts_at": "tomorrow"}, InvalidOption, "starts_at='tomorrow' is no time"),
    ({"job": "contract.inlin"}, UnknownJob, "did you mean 'contract.inline'"),
    ({"payload": {"wort": "w"}}, InvalidPayload, "wort: Extra inputs"),
    ({"payload": {"word": "w" * 300_000}}, PayloadTooLarge, "at most"),
    ({"queue": "no"}, UnknownQueue, "No lane works the queue 'no'"),
    ({"missed": "never"}, InvalidOption, "missed='never': one of skip, latest, all"),
    ({"missed": "all", "missed_max": 0}, InvalidOption, "missed_max=0: 1 to 1000"),
    ({"overlap": "no"}, InvalidOption, "overlap='no': one of allow, skip, queue, replace"),
    ({"missed": "all", "overlap": "skip"}, InvalidOption, "missed='all' makes up for each.*overlap='skip'"),
    ({"missed": "all", "overlap": "replace"}, InvalidOption, "take missed='latest'"),
    ({"jitter_s": -1}, InvalidOption, "jitter_s=-1"),
    ({"name": ""}, InvalidOption, "name=''"),
    ({"name": "w/pause"}, InvalidOption, "name='w/pause': a name can't end with"),
]


@ON_SQLITE
@pytest.mark.parametrize(("facts", "error", "told"), REFUSED, ids=[told for _, _, told in REFUSED])
def test_what_can_not_be_kept_is_refused_and_nothing_is_written(facts, error, told):
    with pytest.raises(error, match=told):
        add(**facts)

    assert (count(table), count(audit)) == (0, 0)


def test_a_name_is_given_once():
    first = add()

    with pytest.raises(NotAllowed, match="There is a schedule 'report' already"):
        add(every=60)

    assert schedules.every() == [first]


def test_of_several_who_add_one_name_at_once_one_succeeds():
    def try_it(_: int) -> bool:
        try:
            add()
        except NotAllowed:
            return False
        return True

    assert race(4, try_it).count(True) == 1
    assert audited() == [("operator", "add schedule", "report")]


def test_a_name_that_the_configuration_has_given_up_is_free():
    configured("report")
    rows.sync([], 2)

    assert add(every=60).source == "api"


def test_what_is_not_named_stays_as_it_was_when_a_schedule_is_edited():
    before = add(crontab="0 6 * * *", timezone="Europe/Berlin", jitter_s=5)
    change(next_due=at(50))

    after = schedules.edit("report", payload={"word": "new"}, overlap="skip", actor="ada")

    assert (after.payload, after.overlap, after.jitter_s) == ({"word": "new"}, "skip", 5.0)
    assert (after.rule, after.last_due) == (before.rule, before.last_due)
    assert after.next_due is not None
    assert after.next_due < now() + timedelta(seconds=51), "the due time stays where it was"
    assert audited()[-1] == ("ada", "edit schedule", "report")


@pytest.mark.parametrize(
    ("changes", "when"),
    [
        ({"crontab": "30 7 * * *"}, "30 7 * * * Europe/Berlin"),
        ({"timezone": "Asia/Tokyo"}, "0 6 * * * Asia/Tokyo"),
        ({"crontab": "30 7 * * *", "timezone": "UTC"}, "30 7 * * * UTC"),
        ({"every": 60}, "every 60 s"),
        ({"at": FAR}, "once at 2199-01-01 00:00:00 UTC"),
    ],
    ids=str,
)
def test_another_rule_counts_from_now_on(changes, when):
    add(crontab="0 6 * * *", timezone="Europe/Berlin")
    change(next_due=at(-500), last_due=at(-1000))

    after = schedules.edit("report", **changes)

    assert after.when == when
    assert after.next_due is not None
    assert after.next_due > now()
    assert abs(after.last_due - now()) < timedelta(seconds=5)


def test_a_schedule_that_has_ended_lives_again_by_another_end():
    add(ends_at=FAR)
    change(next_due=None)
    assert schedules.find("report").status == "ended"

    after = schedules.edit("report", ends_at=None)

    assert (after.status, after.ends_at) == ("active", None)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"crontab": "61 * * * *"}, InvalidOption, "minute='61'"),
        ({"timezone": "Europe/Berlin"}, InvalidOption, "is for a crontab; the schedule is due every 3600 s"),
        ({"at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidOption, "no due time is left"),
        ({"payload": {}}, InvalidPayload, "word: Field required"),
        ({"job": "contract.deferred"}, InvalidPayload, "order_id"),
        ({"nmae": "x"}, InvalidOption, "nmae can't be changed; there are: job, payload"),
    ],
    ids=str,
)
@ON_SQLITE
def test_an_edit_that_can_not_be_changes_nothing(changes, error, told):
    before = add()

    with pytest.raises(error, match=told):
        schedules.edit("report", **changes)

    assert schedules.find("report") == before
    assert count(audit) == 1


def test_a_paused_schedule_fires_nothing_and_says_why():
    add()
    change(next_due=at(-1))

    paused = schedules.pause("report", reason="the printer burns", actor="ada")

    assert (paused.status, paused.reason, paused.next_due) == ("paused", "the printer burns", None)
    assert rows.due_now() == []
    assert schedules.pause("report", reason="still").reason == "still"
    assert audited()[1] == ("ada", "pause schedule", "report")


def test_what_came_due_during_a_pause_was_not_missed():
    add()
    schedules.pause("report")
    change(next_due=at(-7200), last_due=at(-9000))

    resumed = schedules.resume("report", actor="ada")

    assert (resumed.status, resumed.reason) == ("active", None)
    assert resumed.next_due is not None
    assert resumed.next_due > now()
    assert rows.due_now() == []
    assert audited()[-1] == ("ada", "resume schedule", "report")


def test_to_resume_what_is_not_paused_loses_no_due_time():
    add()
    change(next_due=at(-5))

    schedules.resume("report")

    assert len(rows.due_now()) == 1


def test_a_one_off_whose_time_passed_during_a_pause_has_ended():
    add(at=FAR)
    schedules.pause("report")
    change(spec={"at": "2020-01-01T00:00:00.000+00:00"})

    assert schedules.resume("report").status == "ended"


@pytest.mark.parametrize("paused", [False, True], ids=["active", "paused"])
def test_a_run_by_hand_is_a_job_of_the_schedule_beside_its_due_times(paused):
    before = add(queue="data_sync")
    if paused:
        schedules.pause("report")

    job_id = schedules.run_now("report", actor="ada")

    job = row(job_id)
    assert (job.name, job.payload, job.queue, job.schedule, job.due) == (
        "contract.inline",
        WORD,
        "data_sync",
        "report",
        None,
    )
    assert moving.promote() == 1
    after = schedules.find("report")
    assert (after.last_job, after.last_due) == (job_id, before.last_due)
    assert audited()[-1] == ("ada", "run schedule", "report")


def test_it_may_be_run_by_hand_again_and_again():
    add()

    assert len({schedules.run_now("report") for _ in range(3)}) == 3


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_what_may_not_overlap_is_not_run_by_hand_while_the_previous_job_has_not_ended(overlap):
    add(overlap=overlap)
    first = schedules.run_now("report")

    with pytest.raises(NotAllowed, match=f"Job {first} of the schedule 'report' is scheduled"):
        schedules.run_now("report")

    moving.promote()
    claims.finish(a_claim(first), None)
    assert schedules.run_now("report") != first


def test_what_may_not_overlap_is_run_by_hand_once_by_several_at_once():
    add(overlap="skip")

    def try_it(_: int) -> bool:
        try:
            schedules.run_now("report")
        except NotAllowed:
            return False
        return True

    assert race(4, try_it).count(True) == 1
    assert count(jobs) == 1


def test_it_can_be_run_by_hand_when_the_previous_jobs_row_is_gone():
    add(overlap="skip")
    change(last_job="01a20000-0000-7000-8000-000000000000")

    assert row(schedules.run_now("report")).state == State.SCHEDULED


def test_a_schedule_whose_payload_no_longer_fits_is_not_run_by_hand():
    add()
    change(payload={"other": 1})

    with pytest.raises(InvalidPayload):
        schedules.run_now("report")

    assert count(jobs) == 0


def test_a_removed_schedule_is_gone_and_its_jobs_stay():
    add()
    job_id = a_job(schedule="report")

    schedules.remove("report", actor="ada")

    assert schedules.every() == []
    assert row(job_id).schedule == "report"
    assert audited()[-1] == ("ada", "remove schedule", "report")


def test_one_of_the_configuration_is_paused_resumed_and_run_but_not_changed():
    configured()

    assert schedules.pause("nightly").status == "paused"
    assert schedules.resume("nightly").status == "active"
    assert schedules.run_now("nightly")
    for act in (lambda: schedules.edit("nightly", every=60), lambda: schedules.remove("nightly")):
        with pytest.raises(NotAllowed, match=r"named in celeryconfig\.beat_schedule: change or remove it there"):
            act()
    assert schedules.find("nightly").source == "config"


def test_a_schedule_that_is_not_there_is_named():
    configured("gone")
    rows.sync([], 2)

    for act in (
        schedules.find,
        schedules.pause,
        schedules.resume,
        schedules.run_now,
        schedules.remove,
        schedules.preview,
        schedules.edit,
    ):
        with pytest.raises(UnknownSchedule, match="There is no schedule 'gone'") as raised:
            act("gone")
        assert raised.value.name == "gone"
    assert count(audit) == 0


def test_a_preview_tells_the_next_ten_due_times():
    add(every=3600)

    moments = schedules.preview("report")

    first = schedules.find("report").next_due
    assert first is not None
    assert moments == [first + number * timedelta(hours=1) for number in range(10)]


def test_a_preview_ends_where_the_schedule_does():
    add(every=86400, starts_at=FAR, ends_at=FAR + timedelta(days=2))

    assert schedules.preview("report") == [FAR + timedelta(days=day) for day in range(3)]
    assert schedules.preview("report", count=2) == [FAR, FAR + timedelta(days=1)]
    change(next_due=None)
    assert schedules.preview("report") == []


def test_a_preview_of_a_paused_schedule_is_what_it_would_be_if_it_were_resumed_now():
    add(every=3600)
    schedules.pause("report")
    change(next_due=at(-7200))

    moments = schedules.preview("report", 2)

    assert now() < moments[0] <= now() + timedelta(hours=1)
    assert moments[1] - moments[0] == timedelta(hours=1)


def test_a_preview_of_an_overdue_schedule_tells_what_comes_next_and_nothing_that_has_passed():
    add(crontab=f"{(now() + timedelta(minutes=30)).minute} * * * *")
    first = schedules.find("report").next_due
    assert first is not None
    change(next_due=first - timedelta(hours=5), last_due=at(-86400))

    assert schedules.preview("report", 2) == [first, first + timedelta(hours=1)]


@pytest.mark.parametrize(
    "facts",
    [
        {"at": FAR},
        {"every": 86400, "ends_at": FAR},
        {"crontab": "0 0 * * *", "ends_at": FAR + timedelta(hours=23)},
    ],
    ids=["once", "an interval", "a crontab"],
)
@ON_SQLITE
def test_the_beginning_itself_may_be_the_only_due_time(facts):
    assert add(starts_at=FAR, **facts).next_due == FAR


@ON_SQLITE
def test_an_interval_that_comes_no_more_within_all_time_is_refused_in_words():
    with pytest.raises(InvalidOption, match="no due time comes from then on"):
        add(every=timedelta(days=7), starts_at=datetime(9999, 12, 31, tzinfo=UTC))


@ON_POSTGRESQL
def test_an_operator_neither_waits_long_for_a_schedule_nor_holds_one_for_long(monkeypatch):
    add()
    monkeypatch.setattr(bounded, "PATIENCE_S", 0.1)

    with begin() as other:
        other.execute(select(table).with_for_update())
        for act in (schedules.pause, schedules.run_now, schedules.remove):
            with pytest.raises(LedgerUnavailable, match="Somebody else holds the schedule"):
                act("report")

    # And of one that is frozen, whatever it was doing, the lock is taken.
    monkeypatch.setattr(bounded, "STANDS_STILL_S", 0.2)
    with pytest.raises(LedgerUnavailable), bounded.command("the schedule") as frozen:
        frozen.execute(select(table).with_for_update())
        assert eventually("it can be paused", lambda: _paused("report"), within=10)
        frozen.execute(select(1))


def _paused(name: str) -> bool:
    try:
        return schedules.pause(name).status == "paused"
    except LedgerUnavailable:
        return False


def test_what_the_users_own_code_checks_is_checked_with_nothing_locked_and_again_when_somebody_was_quicker(monkeypatch):
    add()
    real, checked = plans.job_of, []

    def validates(*facts: Any) -> Any:
        checked.append(facts)
        if len(checked) in (1, 3):  # Would wait for ever if the row were locked.
            change(queue="data_sync", version=str(len(checked)))
        return real(*facts)

    monkeypatch.setattr(plans, "job_of", validates)
    edited = schedules.edit("report", jitter_s=5)
    job_id = schedules.run_now("report")

    assert (edited.queue, edited.jitter_s) == ("data_sync", 5.0)
    assert row(job_id).queue == "data_sync"
    assert len(checked) == 4


@pytest.mark.parametrize("many", [0, 1001])
def test_a_preview_of_none_or_too_many_is_refused(many):
    add()

    with pytest.raises(InvalidOption, match=f"count={many}"):
        schedules.preview("report", many)
