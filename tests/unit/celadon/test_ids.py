"""Job ids are UUIDv7."""

from __future__ import annotations

import time
import uuid

from celadon.ids import new_id
from tests.eventually import eventually


def milliseconds(job_id: str) -> int:
    return uuid.UUID(job_id).int >> 80


def test_an_id_is_a_uuid_of_version_7():
    made = uuid.UUID(new_id())

    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert str(made) == str(made).lower()


def test_an_id_begins_with_the_milliseconds_at_which_it_was_made():
    before = time.time_ns() // 1_000_000

    made = milliseconds(new_id())

    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_sort_by_the_time_they_were_made_as_text():
    first = new_id()

    def made_later() -> str:
        made = new_id()
        return made if milliseconds(made) > milliseconds(first) else ""

    later = eventually("the next millisecond", made_later)

    assert first < later


def test_ids_made_in_one_millisecond_differ():
    made = [new_id() for _ in range(2000)]

    assert len(set(made)) == len(made)
