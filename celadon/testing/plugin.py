"""The pytest fixture `celadon_sandbox`.

Named by whoever wants it, instead of being registered for every pytest run on the machine: pytest would then load it
everywhere, and compile the whole platform anew to rewrite its assertions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celadon.testing.box import Sandbox, sandbox


@pytest.fixture
def celadon_sandbox() -> Iterator[Sandbox]:
    """A ledger of the test's own; jobs run when the test asks. See `celadon.testing.sandbox`."""
    with sandbox() as box:
        yield box
