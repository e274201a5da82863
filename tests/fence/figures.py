"""The figures of many rounds: kept seed by seed, so that a run goes on where it was broken off."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from tests.fence.checker.evidence import FAULTS, Verdict
from tests.fence.plan import KINDS
from tests.fence.round import Played

ROOT = Path(__file__).resolve().parents[2]
COUNTS = tuple(field.name for field in fields(Verdict) if field.name != "findings")


def version() -> str:
    """A hash of the code under test and of the test. Rounds of another version are no evidence for this one."""
    digest = hashlib.sha256()
    for folder in ("celadon", "tests/fence", "tests/servers"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    digest.update((ROOT / "celeryconfig.py").read_bytes())
    return digest.hexdigest()[:16]


@dataclass
class Finished:
    """The rounds that are done, in a file of JSON lines."""

    file: Path
    version: str = field(default_factory=version)

    def seeds(self) -> dict[int, dict[str, float]]:
        """The figures of each finished seed of this version."""
        if not self.file.exists():
            return {}
        rows = [json.loads(line) for line in self.file.read_text().splitlines()]
        return {row["seed"]: row["figures"] for row in rows if row["version"] == self.version}

    def add(self, seed: int, ledger: str, played: Played) -> dict[str, float]:
        figures: dict[str, float] = {name: getattr(played.verdict, name) for name in COUNTS}
        figures |= {f"faults_{kind}": played.faults[kind] for kind in KINDS}
        figures |= {f"rounds_{ledger}": 1, "seconds": round(played.seconds, 2)}
        with self.file.open("a") as file:
            row = {"seed": seed, "version": self.version, "ledger": ledger, "figures": figures}
            file.write(json.dumps(row) + "\n")
        return figures


def total(rounds: Iterable[dict[str, float]]) -> dict[str, float]:
    """The sums over rounds, with every count and kind of fault in it, also those that never happened."""
    sums: Counter[str] = Counter(dict.fromkeys((*COUNTS, *(f"faults_{kind}" for kind in KINDS), "seconds"), 0))
    for figures in rounds:
        sums["rounds"] += 1
        sums.update(figures)
    return dict(sums)


def never_happened(totals: dict[str, float]) -> list[str]:
    """Kinds of faults that no round had: a run that lacks one has not shown what it is for."""
    return [kind for kind in KINDS if not totals[f"faults_{kind}"]]


def clean(totals: dict[str, float]) -> bool:
    return not any(totals[name] for name in FAULTS)


def lines(totals: dict[str, float]) -> list[str]:
    """The closing lines, `name=value`."""
    first = ["rounds", *(name for name in totals if name.startswith("rounds_")), *COUNTS]
    faults = sorted(name for name in totals if name.startswith("faults_"))
    return [f"{name}={totals.get(name, 0):g}" for name in (*first, *faults)] + [f"seconds={totals['seconds']:.0f}"]
