"""A replica of a service as a process of its own: `python -m tests.contract.celadon_feature.replica ADDRESS EFFECTS`.

It takes a line of JSON for each delivery, and answers with one. Its handler writes the effect into the file EFFECTS.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celadon_feature import Delivery, Feature, SqliteStore, Store
from celadon_feature.feature import PATH

# How long a run stands without being renewed, by queue: longer than any test, or short enough to be waited for.
EXPIRES_S = {"steady": 60.0, "brief": 0.8}


def opened(address: str, **options: Any) -> Store:
    """The store at `KIND+ADDRESS`; of the kinds `sqlite`, `redis` and `sql`."""
    kind, _, place = address.partition("+")
    if kind == "redis":
        from celadon_feature.stores.redis import RedisStore

        return RedisStore(place, **options)
    if kind == "sql":
        from celadon_feature.stores.sql import SqlStore

        return SqlStore(place, **options)
    return SqliteStore(place, **options)


def feature(store: Store, queue: str, note: Callable[[str], None] = print, name: str = "") -> Feature:
    """A feature whose handler is at work for as long as the delivery's data says."""
    made = Feature(keys=None, unsigned=True, store=store, expires_s=EXPIRES_S[queue])

    @made.handler(queue)
    def work(delivery: Delivery) -> str:
        note(delivery.job_id)
        until = delivery.data["until"]
        while until and not Path(until).exists():
            time.sleep(0.01)
        return name

    return made


def main(address: str, effects: str) -> None:
    def note(job_id: str) -> None:
        with Path(effects).open("a") as file:
            file.write(f"{job_id}\n")

    store = opened(address)
    features = {queue: feature(store, queue, note, name=str(os.getpid())) for queue in EXPIRES_S}
    print("ready", flush=True)
    for line in sys.stdin:
        answer = features[json.loads(line)["queueName"]].handle("POST", PATH, {}, line.encode())
        replayed = "Idempotent-Replayed" in answer.headers
        print(json.dumps({"status": answer.status, "replayed": replayed, **json.loads(answer.body)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
