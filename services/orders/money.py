"""Money is whole cents; rates are basis points (2000 is 20 %). No floats anywhere."""

from __future__ import annotations

CURRENCY = "EUR"
TAX_BP = 2000  # Value added tax, contained in the prices of the catalogue.


def money(cents: int, sign: str = "€") -> str:
    """An amount for people.

    >>> money(123456), money(-5, "EUR ")
    ('€1,234.56', '-EUR 0.05')
    """
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{sign}{whole:,}.{rest:02}"


def percent(basis_points: int) -> str:
    """A rate for people.

    >>> percent(2000), percent(1950), percent(805)
    ('20 %', '19.5 %', '8.05 %')
    """
    whole, rest = divmod(basis_points, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + " %" if rest else f"{whole} %"


def tax_within(gross_cents: int, tax_bp: int) -> int:
    """The tax contained in a gross amount, in cents, halves rounded up.

    >>> tax_within(12000, 2000)
    2000
    """
    rated = 10_000 + tax_bp
    return (2 * gross_cents * tax_bp + rated) // (2 * rated)
