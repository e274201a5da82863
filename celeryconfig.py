"""The operator's file: queues, lanes, routes, delivery rules, limits and schedules.

Celery reads it as its configuration. The local runner, the containers and the chart read `lanes` from it, so
that how a queue is worked stands in one place. A process that only submits keeps the tight limits below, so that
a web request never hangs on a broker; `celadon worker` replaces them by patient ones.
"""

import os
import ssl

from celery.schedules import crontab
from kombu import Queue


def _number(name: str, default: int) -> int:
    """A whole number from the environment. Raises ValueError that names the variable."""
    told = os.environ.get(name, "")
    if told and not (told.isascii() and told.isdigit()):
        raise ValueError(f"{name}={told!r} is no whole number; give digits only, or leave it out for {default}")
    return int(told or default)


# --- what runs ------------------------------------------------------------------------------------------------------
imports = ("tasks.orders", "tasks.reports", "tasks.stock")
# Alembic folders of the application, applied by `celadon migrate` after the platform's own.
migrations = ("services.migrations",)

# --- lanes: how queues are worked -----------------------------------------------------------------------------------
# `prefetch` is messages held per slot; `lease_s` how long a claim stands unless renewed (None: the setting LEASE_S);
# `timeout_s` the longest run of a job that names no time-out of its own; `grace_s` what a worker may take to stop;
# `visibility_s` when Redis hands an unacknowledged message out again (the ledger drops it if the job moved on).
lanes = {
    # High concurrency, waiting on networks, short or medium jobs.
    "default": {
        "queues": ("default",),
        "pool": "threads",
        "concurrency": 50,
        "prefetch": 1,
        "lease_s": None,
        "timeout_s": 300,
        "grace_s": 30,
        "visibility_s": 120,
        "fallback": "inline",
    },
    # Low concurrency, long and heavy on the database: a process per job, one message at a time, a long lease.
    "data_sync": {
        "queues": ("data_sync",),
        "pool": "prefork",
        "concurrency": 2,
        "prefetch": 1,
        "lease_s": 30,
        "timeout_s": 4 * 3600,
        "grace_s": 120,
        "visibility_s": 3600,
        "fallback": "defer",
    },
    # What was delayed or comes from a schedule.
    "scheduled": {
        "queues": ("scheduled",),
        "pool": "threads",
        "concurrency": 10,
        "prefetch": 1,
        "lease_s": None,
        "timeout_s": 600,
        "grace_s": 60,
        "visibility_s": 120,
        "fallback": "defer",
    },
    # Jobs that run in other services, over HTTP: its queues are those of the registration file below. A slot waits for
    # an answer, so there are as many as deliveries may be under way: the concurrencies of all queues have to fit.
    "delegated": {
        "queues": (),
        "pool": "threads",
        "concurrency": 256,
        "prefetch": 1,
        "lease_s": None,
        "timeout_s": 900,
        "grace_s": 60,
        "visibility_s": 1200,
        "fallback": "defer",
    },
}
# The registration file of the delegated queues, in the folder that processes are started from, as this one; the setting
# DELEGATION_FILE names another.
delegation = "delegation.toml"

# --- queues and routes ----------------------------------------------------------------------------------------------
task_queues = [Queue(name) for lane in lanes.values() for name in lane["queues"]]  # type: ignore[attr-defined]
task_default_queue = "default"
# For jobs whose declaration names no queue; what is delayed then goes to `scheduled`.
task_routes = {
    "orders.*": {"queue": "default"},
    "reports.*": {"queue": "data_sync"},
    "stock.*": {"queue": "default"},
}
task_create_missing_queues = False  # A misspelt queue must fail, not make a queue that nobody reads.

# --- delivery -------------------------------------------------------------------------------------------------------
broker_url = os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0")
task_serializer = "json"
accept_content = ["json"]
result_backend = None  # Results are in the ledger.
task_ignore_result = True
task_acks_late = True
task_acks_on_failure = True
task_acks_on_timeout = True
# Both would run a job beside the ledger's own recovery.
task_reject_on_worker_lost = False
task_retry_on_worker_lost = False
# A blip of the broker must not end hour-long jobs; the lease decides.
worker_cancel_long_running_tasks_on_connection_loss = False
worker_disable_rate_limits = True
worker_send_task_events = False  # Events cost 45 % of a worker's throughput; the ledger keeps the history.
worker_hijack_root_logger = False
worker_redirect_stdouts = False
enable_utc = True
timezone = "UTC"

# --- reaching the broker --------------------------------------------------------------------------------------------
if broker_url.startswith("rediss://"):
    # kombu's own default would accept any certificate.
    broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": os.environ.get("BROKER_CA_FILE")}

_sentinel = (
    {"master_name": os.environ.get("BROKER_SENTINEL_MASTER", "mymaster")} if broker_url.startswith("sentinel") else {}
)

# Producers: bounded to about 0.16 s, refused or half-open (retries would add seconds).
task_publish_retry = False
broker_pool_limit = 10
broker_pool_acquire_timeout = 0.1
broker_connection_timeout = 0.1
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_channel_error_retry = True
broker_transport_options = {
    **_sentinel,
    "socket_timeout": 0.15,
    "socket_connect_timeout": 0.1,
    "max_retries": 0,
    "health_check_interval": 0,
    "socket_keepalive": True,
    "priority_steps": [0],
    "client_name": "celadon-producer",
}
# Workers: patient, for they have nobody waiting; reconnects are at most 2 s apart.
patient_transport_options = {
    **_sentinel,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "interval_start": 0,
    "interval_step": 0.5,
    "interval_max": 2,
    "priority_steps": [0],
    "fanout_prefix": True,
    "fanout_patterns": True,
    "unacked_mutex_expire": 60,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 100,
}

# --- limits ---------------------------------------------------------------------------------------------------------
# By queue, job or tenant; over its limit a job waits in the ledger for its turn. Operators change them at run time
# (`celadon limits`); what they have set stands until it is reset.

# How many orders may begin in any ORDERS_PER_S seconds, over all workers; 0: any number.
_orders_starts = _number("ORDERS_STARTS", 10)
# The seconds that ORDERS_STARTS is counted in.
_orders_per_s = _number("ORDERS_PER_S", 10)
# How many orders a worker works on at a time; 0: as many as its lane does.
_orders_per_worker = _number("ORDERS_PER_WORKER", 5)

limits = {
    "job orders.process": [
        *([{"starts": _orders_starts, "per_s": _orders_per_s}] if _orders_starts else []),
        *([{"concurrency": _orders_per_worker, "each": "worker"}] if _orders_per_worker else []),
    ],
}

# --- schedules ------------------------------------------------------------------------------------------------------
# Synced into the ledger by every Beat. `missed` says what becomes of due times that no Beat was there for, `overlap`
# what a due time does while the schedule's last job is still at work.

# Of the limits and schedules here: those of an older generation never overwrite those of a newer one. Raise it by one
# with each change of them.
beat_generation = _number("BEAT_GENERATION", 2)
# Where the shop is: its days begin and end there, and its nightly jobs run at night there.
_zone = os.environ.get("SHOP_TIMEZONE", "Europe/Vienna")
# After so many days an order that is complete loses its customer's name and address; 0: never.
_keep_days = _number("ORDERS_KEEP_DAYS", 1095)
# After so many days an order and its invoice are removed; 0: never. The default is ten years: ask who knows your law.
_invoice_days = _number("INVOICES_KEEP_DAYS", 3653)

beat_schedule = {
    # One run makes up for all that were missed: it reports on every day that has no report yet.
    "sales-report": {
        "task": "reports.sales",
        "schedule": crontab(hour="2", minute="30"),
        "timezone": _zone,
        "kwargs": {"timezone": _zone},
        "missed": "latest",
        "overlap": "skip",
    },
    # An hour that was missed is made up for by the next.
    "stock-check": {
        "task": "stock.check",
        "schedule": crontab(minute="7"),
        "missed": "skip",
        "overlap": "skip",
        "jitter_s": 60,
    },
    "orders-retention": {
        "task": "orders.retention",
        "schedule": crontab(hour="3", minute="30"),
        "timezone": _zone,
        "kwargs": {"keep_days": _keep_days, "invoice_days": _invoice_days},
        "missed": "latest",
        "overlap": "skip",
    },
    "rebuild-order-flags": {
        "task": "orders.rebuild_flags",
        "schedule": crontab(minute="17"),
        "missed": "skip",
        "overlap": "skip",
        "jitter_s": 60,
    },
}
