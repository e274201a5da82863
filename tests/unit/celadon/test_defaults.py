"""What Celery does where the operator's file is silent."""

from __future__ import annotations

import ssl

import celeryconfig
from celadon import defaults
from celadon.app import Loader, app
from tests.contract.pointed import pointed


def test_what_the_projects_own_file_says_of_delivery_is_what_the_platform_would_do_anyway():
    made = defaults.celery()
    for name in defaults.DELIVERY | defaults.REACHING | {"broker_transport_options": ..., "broker_url": ...}:
        assert getattr(celeryconfig, name) == made[name], name
    assert celeryconfig.patient_transport_options == defaults.patient_transport_options()
    assert {queue.name for queue in celeryconfig.task_queues} == {queue.name for queue in made["task_queues"]}


def test_the_operators_file_wins_over_the_defaults(monkeypatch):
    monkeypatch.setattr(celeryconfig, "broker_pool_limit", 3)
    monkeypatch.delattr(celeryconfig, "task_acks_late")
    loader = Loader(app)

    loader.config_from_object("whatever")

    assert (loader.conf["broker_pool_limit"], loader.conf["task_acks_late"]) == (3, True)


def test_an_encrypted_broker_must_show_a_certificate():
    with pointed(broker_url="rediss://broker/0", broker_ca_file="/some/ca.pem"):
        assert defaults.celery()["broker_use_ssl"] == {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_ca_certs": "/some/ca.pem",
        }


def test_sentinels_are_asked_for_the_configured_master():
    with pointed(broker_url="sentinel://one:26379", broker_sentinel_master="main"):
        assert defaults.celery()["broker_transport_options"]["master_name"] == "main"
        assert defaults.patient_transport_options()["master_name"] == "main"
