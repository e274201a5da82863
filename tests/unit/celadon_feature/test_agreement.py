"""The two sides, which share no code, agree: what the platform signs and says, and what it makes of the answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from celadon.delegation import entries, signing, status_table, urls
from celadon.delegation.client import Answered
from celadon.delegation.status_table import Becomes, Verdict
from celadon_feature import Answer, Delivery, Feature, Permanent, SqliteStore, feature, new_key
from celadon_feature.signing import parsed_keys
from celadon_feature.stores import Run

KEY = new_key()


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "deliveries.db")


@pytest.fixture
def served(store: SqliteStore) -> Feature:
    made = Feature(keys=KEY, store=store)

    @made.handler("email")
    def send(delivery: Delivery) -> str:
        if delivery.data == "fail":
            raise ConnectionError("no bank")
        if delivery.data == "refuse":
            raise Permanent("no address")
        return "sent"

    return made


def answered(answer: Answer) -> Answered:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answered(status=answer.status, headers=headers, body=answer.body)


def posted(served: Feature, data: str, attempts: int = 0) -> Verdict:
    told = {"jobId": "job-1", "queueName": "email", "data": data, "attemptsMade": attempts}
    body = json.dumps(told).encode()
    headers = signing.headers("job-1", body, parsed_keys(KEY), datetime.now(UTC))
    return status_table.of_post(answered(served.handle("POST", entries.PATH, headers, body)), attempts)


def asked(served: Feature, attempts: int = 0) -> Verdict:
    headers = signing.headers("job-1", b"", parsed_keys(KEY), datetime.now(UTC))
    answer = served.handle("GET", f"{entries.PATH}/job-1", headers, b"")
    return status_table.of_question(answered(answer), attempts)


def test_the_path_and_the_size_of_an_answer_are_the_same_on_both_sides() -> None:
    assert (feature.PATH, feature.MAX_RESULT_BYTES) == (entries.PATH, entries.MAX_ANSWER_BYTES)


@pytest.mark.parametrize(
    "path",
    ["/a", "/a/b.c/~d", "/a:b@c", "a", "", "/", "/a/", "//a", "/a/../b", "/.", "/...", "/a?b", "/a b", "/ä", "/a%20b"],
)
def test_a_path_that_the_one_side_takes_the_other_takes_too(store: SqliteStore, path: str) -> None:
    try:
        Feature(keys=KEY, store=store, path=path)
    except ValueError:
        taken = False
    else:
        taken = True
    assert taken == urls.is_path(path)


def test_a_success_is_one_and_is_known_afterwards(served: Feature) -> None:
    done = Verdict(becomes=Becomes.SUCCEEDED, result="sent")
    assert [posted(served, "send"), posted(served, "send", 1), asked(served), asked(served, 5)] == [done] * 4


def test_a_failure_is_a_failed_try_and_the_next_one_is_posted(served: Feature) -> None:
    assert [posted(served, "fail").becomes, asked(served).becomes] == [Becomes.FAILED, Becomes.FAILED]
    assert posted(served, "fail").why == "ConnectionError: no bank"
    assert asked(served, attempts=1).becomes == Becomes.POSTED_AGAIN
    assert posted(served, "send", attempts=1).becomes == Becomes.SUCCEEDED


def test_what_is_refused_for_good_is_dead(served: Feature) -> None:
    assert [posted(served, "refuse").becomes, asked(served).becomes] == [Becomes.DEAD, Becomes.DEAD]


def test_what_is_at_work_or_was_interrupted_or_is_unknown_is_asked_about(served: Feature, store: SqliteStore) -> None:
    assert asked(served).becomes == Becomes.POSTED_AGAIN

    run = Run(job_id="job-1", attempts_made=0, token="another delivery")
    store.begin(run, 60)
    assert [posted(served, "send").becomes, asked(served).becomes] == [Becomes.ASKED, Becomes.ASKED_AGAIN]

    store.abandon(run)
    assert asked(served).becomes == Becomes.POSTED_AGAIN
    assert posted(served, "send").becomes == Becomes.SUCCEEDED


def test_a_store_that_is_away_burns_no_try(tmp_path: Path) -> None:
    away = Feature(keys=KEY, store=SqliteStore(tmp_path / "no folder" / "deliveries.db"))
    away.handler("email")(lambda delivery: "sent")
    assert [posted(away, "send").becomes, asked(away).becomes] == [Becomes.POSTPONED, Becomes.POSTPONED]
