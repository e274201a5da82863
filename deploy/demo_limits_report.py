"""What `make demo-limits` counts, from the workers' own notes of when orders began and ended."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Noted:
    """An order that began or ended, at a time of the host's steady clock."""

    at: float
    pid: int
    begins: bool


def read(lines: Iterable[str]) -> list[Noted]:
    """The notes, oldest first. A line that is not whole yet is left out."""
    found = [line.split() for line in lines if line.endswith("\n")]
    notes = [Noted(at=float(at), pid=int(pid), begins=what == "begin") for at, pid, what, _ in found]
    return sorted(notes, key=lambda note: note.at)


def begins(notes: Iterable[Noted]) -> list[float]:
    return [note.at for note in notes if note.begins]


def most_in_any_window(times: Sequence[float], window_s: float) -> int:
    """The most of the (sorted) times that lie in any window of that length; two exactly so far apart do not."""
    return max((n + 1 - bisect_left(times, at - window_s + 1e-9) for n, at in enumerate(times)), default=0)


def at_work(notes: Iterable[Noted]) -> Counter[int]:
    """How many orders each process has begun and not ended."""
    count: Counter[int] = Counter()
    for note in notes:
        count[note.pid] += 1 if note.begins else -1
    return count


def most_at_work(notes: Sequence[Noted]) -> int:
    """The most that any one process had in hand at any time."""
    return max((max(at_work(notes[: n + 1]).values()) for n in range(len(notes))), default=0)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The figures at the end."""

    orders: int
    complete: int
    receipts_waiting: int
    workers: int
    most_starts_in_window: int
    most_at_once_per_worker: int

    def lines(self, window_s: float) -> list[str]:
        """name=value, one a line."""
        return [
            f"orders={self.orders}",
            f"complete={self.complete}",
            f"receipts_waiting={self.receipts_waiting}",
            f"workers={self.workers}",
            f"most_starts_in_{window_s:g}_s={self.most_starts_in_window}",
            f"most_at_once_per_worker={self.most_at_once_per_worker}",
        ]

    def good(self, *, starts: int, per_worker: int) -> bool:
        """Whether the limit was kept, and was one: some orders had to wait, and none was forgotten."""
        return (
            self.complete == self.orders
            and self.receipts_waiting > 0
            and self.most_starts_in_window <= starts
            and self.most_at_once_per_worker <= per_worker
        )
