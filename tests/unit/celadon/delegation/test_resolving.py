"""A service's name becomes a base URL, by the file's map or by DNS."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from celadon.delegation.entries import EMPTY, Resolver, Table
from celadon.delegation.resolving import base_url
from celadon.errors import Unresolved


def table(**how: object) -> Table:
    return Table(entries=MappingProxyType({}), resolver=Resolver(**how))  # type: ignore[arg-type]


def test_a_static_service_is_where_the_file_says() -> None:
    services = MappingProxyType({"mail": "http://127.0.0.1:4010", "media": "https://media.example.org/jobs/"})

    assert base_url(table(services=services), "mail") == "http://127.0.0.1:4010"
    assert base_url(table(services=services), "media") == "https://media.example.org/jobs"


def test_a_service_that_the_file_does_not_have_is_told_with_the_nearest() -> None:
    with pytest.raises(Unresolved, match="there is no service 'mial'; did you mean 'mail'") as error:
        base_url(table(services=MappingProxyType({"mail": "http://m"})), "mial")
    assert error.value.service == "mial"
    with pytest.raises(Unresolved, match=r"add it to \[services\]"):
        base_url(EMPTY, "mail")


def test_a_name_of_dns_is_put_into_the_template() -> None:
    found = table(kind="dns", template="http://{service}.features.svc.cluster.local:8080/")

    assert base_url(found, "image-gen") == "http://image-gen.features.svc.cluster.local:8080"
