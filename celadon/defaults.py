"""What Celery does unless the operator's file says otherwise: the rules of delivery that the ledger counts on.

With them an application's own `celeryconfig.py` may be as short as its lanes: messages are acknowledged late, a web
request never hangs on a broker, and nothing recovers jobs beside the ledger.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from kombu import Queue

from celadon import lanes, queues
from celadon.errors import CeladonError
from celadon.settings import settings

DELIVERY: Mapping[str, Any] = {
    "task_default_queue": queues.DEFAULT,
    "task_create_missing_queues": False,  # A misspelt queue must fail, not make a queue that nobody reads.
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,  # Results are in the ledger.
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_acks_on_failure": True,
    "task_acks_on_timeout": True,
    # Both would run a job beside the ledger's own recovery.
    "task_reject_on_worker_lost": False,
    "task_retry_on_worker_lost": False,
    # A blip of the broker must not end hour-long jobs; the lease decides.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_disable_rate_limits": True,
    "worker_send_task_events": False,  # They cost almost half of a worker's throughput; the ledger has the history.
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "enable_utc": True,
    "timezone": "UTC",
}

# Producers: bounded to about 0.16 s, refused or half-open (retries would add seconds).
REACHING: Mapping[str, Any] = {
    "task_publish_retry": False,
    "broker_pool_limit": 10,
    "broker_pool_acquire_timeout": 0.1,
    "broker_connection_timeout": 0.1,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
}
_PRODUCER: Mapping[str, Any] = {
    "socket_timeout": 0.15,
    "socket_connect_timeout": 0.1,
    "max_retries": 0,
    "health_check_interval": 0,
    "socket_keepalive": True,
    "priority_steps": [0],
    "client_name": "celadon-producer",
}
_LIMITS = ("socket_timeout", "socket_connect_timeout", "max_retries", "health_check_interval", "client_name")
# Workers: patient, for they have nobody waiting; reconnects are at most 2 s apart.
_PATIENT: Mapping[str, Any] = {
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


def celery(told: Mapping[str, Any]) -> dict[str, Any]:
    """Celery's settings: what the operator's file tells, over the platform's own.

    Raises CeladonError for unfit lanes, and for a broker that is not the platform's.
    """
    if told.get("broker_url", settings().broker_url) != settings().broker_url:
        raise CeladonError(
            "celeryconfig.broker_url is not what BROKER_URL names, so Celery and the platform would use two brokers; "
            "leave it out, and set BROKER_URL"
        )
    made = {
        **DELIVERY,
        **REACHING,
        "broker_url": settings().broker_url,
        "task_queues": [Queue(name) for lane in lanes.declared().values() for name in lane.queues],
    }
    if settings().broker_url.startswith("rediss://"):
        # kombu's own default would accept any certificate.
        made["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": settings().broker_ca_file}
    # One option more must not take the others away: without limits a web request would hang on a half-open broker.
    options = {**_sentinel(), **_PRODUCER, **told.get("broker_transport_options", {})}
    return {**made, **told, "broker_transport_options": options}


def patient_transport_options(told: Mapping[str, Any]) -> dict[str, Any]:
    """How a worker reaches the broker: as the producers do, but for the limits.

    told: the operator's file, of which `patient_transport_options` has the last word.
    """
    producers = told.get("broker_transport_options", {})
    shared = {name: value for name, value in producers.items() if name not in _LIMITS}
    return {**_sentinel(), **_PATIENT, **shared, **told.get("patient_transport_options", {})}


def _sentinel() -> dict[str, Any]:
    url, master = settings().broker_url, settings().broker_sentinel_master
    return {"master_name": master} if url.startswith("sentinel") else {}
