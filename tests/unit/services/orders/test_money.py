from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orders import money


def test_the_examples_are_true() -> None:
    assert doctest.testmod(money).failed == 0
    assert doctest.testmod(money).attempted == 3


@pytest.mark.parametrize(("gross", "tax"), [(0, 0), (1, 0), (3, 1), (600, 100), (9999, 1667)])
def test_the_tax_of_a_gross_price_is_rounded_to_the_nearest_cent(gross: int, tax: int) -> None:
    assert money.tax_within(gross, 2000) == tax


@given(gross=st.integers(0, 10**9), rate=st.integers(0, 10_000))
def test_tax_on_the_net_price_gives_the_gross_price_again(gross: int, rate: int) -> None:
    tax = money.tax_within(gross, rate)
    net = gross - tax

    assert abs(net * rate - tax * 10_000) <= (10_000 + rate) // 2
