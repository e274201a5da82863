"""Server-sent events: told as it changes, within bounds, and no thread is held for longer than needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response

from celadon.errors import LedgerUnavailable, UnknownJobId
from celadon.settings import settings
from web import streams
from web.streams import Over, holders, stream


@pytest.fixture(autouse=True)
def _two_holders(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WEB_THREADS", "4")
    settings.cache_clear()
    holders.cache_clear()
    monkeypatch.setattr(streams, "FIRST_LOOK_S", 0.001)
    monkeypatch.setattr(streams, "LAST_LOOK_S", 0.001)
    yield
    monkeypatch.undo()
    settings.cache_clear()
    holders.cache_clear()


class Looks:
    """Shows the given values one after the other, then raises the given error or stays as it is."""

    def __init__(self, *values: object, last: bool = True, then: Exception | None = None) -> None:
        self.values, self.last, self.then = list(values), last, then

    def __call__(self) -> tuple[dict[str, Any], bool]:
        value = self.values.pop(0) if self.values else None
        if value is None:
            assert self.then is not None
            raise self.then
        return {"n": value}, self.last and not self.values and self.then is None


def opened(look: Any, seen: str = "", event: str = "change") -> Response:
    app = Flask(__name__)
    with app.test_request_context("/api/jobs/1/events", headers={"Last-Event-ID": seen} if seen else {}):
        return stream(look, event)


def told(response: Response) -> list[dict[str, str]]:
    """The events of a stream that was read to its end, which is closed then."""
    text = response.get_data(as_text=True)
    response.close()
    parts = [dict(line.split(": ", 1) for line in part.splitlines()) for part in text.strip().split("\n\n")]
    assert parts[0] == {"retry": "1000"}
    return parts[1:]


def free() -> int:
    taken = 0
    while holders().acquire(blocking=False):
        taken += 1
    for _ in range(taken):
        holders().release()
    return taken


def test_each_change_is_told_once_and_the_last_one_is_called_the_end() -> None:
    response = opened(Looks(1, 1, 1, 2, 2, 3), event="progress")

    assert response.content_type.startswith("text/event-stream")
    assert [(one["event"], one["data"]) for one in told(response)] == [
        ("progress", '{"n":1}'),
        ("progress", '{"n":2}'),
        ("end", '{"n":3}'),
    ]
    assert free() == 2


def test_who_comes_back_is_told_only_what_changed_since() -> None:
    first = told(opened(Looks(1, 2, then=LedgerUnavailable())))[1]

    again = told(opened(Looks(2, 2, 3), seen=first["id"]))

    assert [one["data"] for one in again] == ['{"n":3}']


def test_who_comes_back_after_the_end_is_told_it_again() -> None:
    (end,) = told(opened(Looks(1)))

    assert told(opened(Looks(1), seen=end["id"])) == [end]


@pytest.mark.parametrize("then", [LedgerUnavailable(), UnknownJobId(), Over()], ids=["away", "pruned", "over"])
def test_a_stream_ends_when_nothing_can_be_told_any_more(then: Exception) -> None:
    assert [one["event"] for one in told(opened(Looks(1, 2, then=then)))] == ["change", "change"]
    assert free() == 2


def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.0)

    parts = told(opened(Looks(1, 1, 1, 2)))

    assert {"": "still here"} in parts
    assert parts[-1]["data"] == '{"n":2}'


def test_a_stream_does_not_last_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_S", 0.0)

    assert [one["event"] for one in told(opened(Looks(1, last=False)))] == ["change"]


def test_half_of_the_threads_stay_free() -> None:
    held = [opened(Looks(1, last=False, then=Over())) for _ in range(2)]

    refused = opened(Looks(1))

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert b"too-many-streams" in refused.data
    for response in held:
        response.close()
    assert free() == 2


def test_a_stream_that_is_over_before_its_first_look_is_empty_and_holds_nothing() -> None:
    response = opened(Looks(then=Over()))

    assert (response.status_code, response.mimetype, response.data) == (200, "text/event-stream", b"")
    assert free() == 2


def test_what_the_first_look_raises_is_the_answer_and_holds_nothing() -> None:
    with pytest.raises(UnknownJobId):
        opened(Looks(then=UnknownJobId("There is no such job")))

    assert free() == 2
