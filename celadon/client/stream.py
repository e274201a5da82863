"""Server-sent events, as the standard writes them."""

from __future__ import annotations

from dataclasses import dataclass

from celadon.client.errors import ApiError

MAX_LINE = 4 * 1024 * 1024  # Of an event; a server that sends more without a line break is none of ours.


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    name: str
    data: str


class Parser:
    """Takes the bytes of a stream as they come and gives the events that are complete."""

    def __init__(self) -> None:
        self.last_id: str | None = None  # Of the last event that was complete.
        self.retry_s: float | None = None
        self._rest = b""
        self._id: str | None = None
        self._name, self._data = "", list[str]()

    def feed(self, piece: bytes) -> list[Event]:
        """The events that end in this piece. Raises ApiError for a line without an end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ApiError(f"The stream has a line of more than {MAX_LINE} bytes; is the base URL that of Celadon?")
        events = [self._line(line.removesuffix(b"\r").decode("utf-8", "replace")) for line in lines]
        return [event for event in events if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event(name=self._name or "message", data="\n".join(self._data)) if self._data else None
            self._name, self._data, self.last_id = "", [], self._id
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000
        return None
