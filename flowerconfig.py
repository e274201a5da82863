"""Flower's own configuration, read from the folder it is started in.

It wins over FLOWER_… variables of the same names; the command line wins over it (`--max_tasks=50000`). What differs
from place to place is not here: FLOWER_BASIC_AUTH, FLOWER_URL_PREFIX, FLOWER_ENABLE_EVENTS.
"""

from tornado.options import options

if not options.auth and not (options.basic_auth and all(":" in who.strip(":") for who in options.basic_auth)):
    raise SystemExit("Flower would be open to everybody: set FLOWER_BASIC_AUTH=user:password")

read_only = True  # Whoever steers, steers the ledger: a worker or a message that Flower ends is not a job that ends.
max_tasks = 10_000  # Kept in memory, the newest: some 40 MB. Flower's own 100,000 would be 370 MB.
purge_offline_workers = 300  # Seconds. A worker's name is new at each start, so the old ones would pile up.
