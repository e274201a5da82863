"""What Celery does where the operator's file is silent."""

from __future__ import annotations

import ssl

import pytest

import celeryconfig
from celadon import defaults
from celadon.app import Loader, app
from celadon.errors import CeladonError
from tests.contract.pointed import pointed


def test_what_the_projects_own_file_says_of_delivery_is_what_the_platform_would_do_anyway():
    made = defaults.celery({})
    for name in defaults.DELIVERY | defaults.REACHING | {"broker_transport_options": ..., "broker_url": ...}:
        assert getattr(celeryconfig, name) == made[name], name
    assert celeryconfig.patient_transport_options == defaults.patient_transport_options({})
    assert {queue.name for queue in celeryconfig.task_queues} == {queue.name for queue in made["task_queues"]}


def test_the_operators_file_wins_over_the_defaults(monkeypatch):
    monkeypatch.setattr(celeryconfig, "broker_pool_limit", 3)
    monkeypatch.delattr(celeryconfig, "task_acks_late")
    loader = Loader(app)

    loader.config_from_object("whatever")

    assert (loader.conf["broker_pool_limit"], loader.conf["task_acks_late"]) == (3, True)


def test_an_option_of_the_operators_takes_no_other_away_and_holds_for_workers_too():
    told = {"broker_transport_options": {"global_keyprefix": "mine:", "socket_timeout": 0.3}}

    producers = defaults.celery(told)["broker_transport_options"]
    workers = defaults.patient_transport_options(told)

    own = defaults.celery({})["broker_transport_options"]
    assert producers == {**own, "global_keyprefix": "mine:", "socket_timeout": 0.3}
    assert workers == {**defaults.patient_transport_options({}), "global_keyprefix": "mine:"}


def test_the_operators_word_on_workers_is_the_last():
    told = {
        "broker_transport_options": {"global_keyprefix": "mine:"},
        "patient_transport_options": {"global_keyprefix": "theirs:", "socket_timeout": 20},
    }

    assert defaults.patient_transport_options(told) == {
        **defaults.patient_transport_options({}),
        "global_keyprefix": "theirs:",
        "socket_timeout": 20,
    }


def test_workers_of_this_project_are_patient():
    assert defaults.patient_transport_options(vars(celeryconfig)) == celeryconfig.patient_transport_options


def test_a_broker_that_is_named_twice_is_refused_with_the_cure_and_without_its_password():
    with pytest.raises(CeladonError, match="celeryconfig.broker_url .* leave it out, and set BROKER_URL") as refused:
        defaults.celery({"broker_url": "redis://:secret@elsewhere/0"})

    assert "secret" not in str(refused.value)


def test_an_encrypted_broker_must_show_a_certificate():
    with pointed(broker_url="rediss://broker/0", broker_ca_file="/some/ca.pem"):
        assert defaults.celery({})["broker_use_ssl"] == {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_ca_certs": "/some/ca.pem",
        }


def test_sentinels_are_asked_for_the_configured_master():
    with pointed(broker_url="sentinel://one:26379", broker_sentinel_master="main"):
        assert defaults.celery({})["broker_transport_options"]["master_name"] == "main"
        assert defaults.patient_transport_options({})["master_name"] == "main"
