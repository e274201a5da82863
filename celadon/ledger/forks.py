"""No SQLite connection is open while the process forks.

SQLite remembers per process which locks it holds on a file. A child that is forked in the midst of a transaction
inherits that memory, but not the locks: it would wait for ever for a phantom, or write without being protected. So
a fork waits until no other thread has a connection out, closes the idle ones, and holds new ones back until it is done.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

# A fork asks those last that asked first. Whoever has a connection out may have to count before giving it back, so
# counting is held up after the wait for connections, not before.
import celadon.metrics.kinds  # noqa: F401

WAIT_S = 15.0  # Longer than SQLite's own busy time-out: whatever is under way has ended by then.

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_change = threading.Condition()
_forking = False
_out: dict[int, int] = {}  # Pool record → the thread that has its connection out.


def guard(engine: Engine) -> None:
    """Watch an SQLite engine's connections."""
    _engines.add(engine)
    event.listen(engine, "do_connect", _opening)
    event.listen(engine, "checkout", _taken)
    event.listen(engine, "checkin", _returned)


def _opening(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
    me = threading.get_ident()
    with _change:
        _change.wait_for(lambda: not _forking, timeout=WAIT_S)
        _out[id(record)] = me  # From before it is open, so that no fork comes in between.
    try:
        return dialect.connect(*arguments, **options)
    except BaseException:
        let_go(record)
        raise


def _taken(_connection: Any, record: Any, _proxy: Any) -> None:
    with _change:
        if id(record) in _out:
            return  # Just opened.
        if _forking:
            raise DisconnectionError("the process is forking")  # The pool closes it and opens another, afterwards.
        _out[id(record)] = threading.get_ident()


def _returned(_connection: Any, record: Any) -> None:
    let_go(record)


def let_go(record: Any) -> None:
    """The record's connection is back in the pool, or was never made."""
    with _change:
        _out.pop(id(record), None)
        _change.notify_all()


def _before() -> None:
    global _forking
    if not _engines:
        return
    me = threading.get_ident()
    with _change:
        _forking = True
        _change.wait_for(lambda: all(thread == me for thread in _out.values()), timeout=WAIT_S)
    for engine in list(_engines):
        engine.dispose()


def _in_parent() -> None:
    global _forking
    with _change:
        _forking = False
        _change.notify_all()


def _in_child() -> None:
    global _forking, _change
    _forking, _change = False, threading.Condition()
    _out.clear()
    _engines.clear()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
