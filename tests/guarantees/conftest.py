"""The proofs of recovery mostly wait for leases to run out, so their short forms run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from benchmarks.figures import Figures
from tests.conftest import need
from tests.guarantees import g03, g04, g13, g16

PROOFS = {"g03": g03, "g04": g04, "g13": g13, "g16": g16}


@pytest.fixture(scope="session")
def short_form(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Figures]]:
    """The figures of a proof's short form. All of them begin when the first is asked for."""

    folders = {name: tmp_path_factory.mktemp(name) for name in PROOFS}

    def measure(name: str) -> Figures:
        figures = Figures()
        PROOFS[name].measure(figures, folders[name], long=False)
        return figures

    under_way: dict[str, Future[Figures]] = {}
    with ThreadPoolExecutor(len(PROOFS)) as pool:

        def figures_of(name: str) -> Figures:
            if not under_way:
                under_way.update({proof: pool.submit(measure, proof) for proof in PROOFS})
            return need(under_way[name].result)

        yield figures_of
