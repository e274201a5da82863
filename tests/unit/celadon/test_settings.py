"""Settings: read from the environment, and a bad value is named with its cure."""

from __future__ import annotations

import pytest

from celadon.errors import CeladonError
from celadon.settings import Settings, settings
from tests.contract.pointed import pointed


def test_without_an_environment_everything_has_a_value():
    with pointed(**dict.fromkeys(Settings.model_fields)):
        limits = settings()

    assert (limits.ledger_url, limits.lease_s, limits.renew_s) == ("sqlite:///celadon.db", 10, 3)
    assert limits.redis == limits.broker_url == "redis://127.0.0.1:6379/0"


def test_a_variable_is_the_fields_name_in_upper_case():
    with pointed(confirm_ms=7, redis_url="redis://elsewhere:1/0"):
        assert settings().confirm_ms == 7
        assert settings().redis == "redis://elsewhere:1/0"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_s", "soon"),
        ("lease_s", "0"),
        ("confirm_ms", "-1"),
        ("confirm_ms", "999999"),
        ("inline_concurrency", "many"),
        ("tick_s", "5"),
        ("log_level", "LOUD"),
        ("log_format", "xml"),
        ("use_broker", "perhaps"),
    ],
)
def test_a_value_that_can_not_be_used_is_named(name, value):
    with pointed(**{name: value}), pytest.raises(CeladonError, match=f"settings that can't be used.*{name.upper()}: "):
        settings()


def test_all_bad_values_are_told_at_once():
    with pointed(lease_s="soon", log_level="LOUD"), pytest.raises(CeladonError) as error:
        settings()

    assert "LEASE_S" in str(error.value)
    assert "LOG_LEVEL" in str(error.value)


def test_a_lease_that_one_late_renewal_would_lose_is_refused_with_the_cure():
    with pointed(lease_s="10", renew_s="5"), pytest.raises(CeladonError, match="lower RENEW_S or raise LEASE_S"):
        settings()


def test_settings_can_not_be_changed_behind_the_environments_back():
    with pytest.raises(Exception, match="frozen"):
        settings().lease_s = 1


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_for(name):
    description = Settings.model_fields[name].description

    assert description
    assert description.endswith(".")
