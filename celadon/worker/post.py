"""Which worker this process is: its lane and a name that no other boot has."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, replace

from celadon.queues import Lane
from celadon.run import Runner


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """A worker's place: made once by its first process, inherited by its children."""

    lane: Lane
    boot: str  # host:hex, unique per start.

    @property
    def name(self) -> str:
        """This process's name in `claimed_by`."""
        return f"{self.boot}:{os.getpid()}"

    def of(self, pid: int) -> str:
        return f"{self.boot}:{pid}"

    def runner(self) -> Runner:
        # A prefork child runs one job at a time: whatever kills it was alone in it.
        return Runner(worker=self.name, alone=self.lane.pool == "prefork", lease_s=self.lane.lease)


_post: Post | None = None


def take(lane: Lane, boot: str | None = None) -> Post:
    global _post
    _post = Post(lane=lane, boot=boot or f"{socket.gethostname()}:{uuid.uuid4().hex[:10]}")
    return _post


def move(queues: tuple[str, ...]) -> Post:
    """Work these queues from now on."""
    return take(replace(post().lane, queues=queues), post().boot)


def post() -> Post:
    if _post is None:
        raise RuntimeError("this process is no Celadon worker; start one with `celadon worker LANE`")
    return _post
