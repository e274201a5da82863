"""`python -m tests.fence --seed 1 --runs 500`: rounds under faults, resumable, with figures at the end.

Each round has the seed of its number, so any one can be played again alone: `--seed 17 --runs 1`. Seeds that this
version of the code has finished already are not played again; `--again` does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from sqlalchemy import select

from celadon.ledger import tables
from tests.fence import figures, observer
from tests.fence.plan import plan
from tests.fence.round import Played, ShownLittle, patiently
from tests.fence.world import World, world
from tests.ledgers import KINDS

# Servers and zygotes are made anew after so many rounds, so that a long run also has their beginnings in it.
ROUNDS_PER_WORLD = 25


def main() -> int:
    asked = arguments()
    asked.dir.mkdir(parents=True, exist_ok=True)
    finished = figures.Finished(asked.dir / "rounds.jsonl")
    wanted = range(asked.seed, asked.seed + asked.runs)
    done = {} if asked.again else finished.seeds()
    todo = {
        ledger: [seed for seed in wanted if seed not in done and ledger_of(seed, asked.ledger) == ledger]
        for ledger in KINDS
    }
    print(f"{len(wanted)} rounds, {len(wanted) - sum(map(len, todo.values()))} of them done before", flush=True)
    for ledger, seeds in todo.items():
        for start in range(0, len(seeds), ROUNDS_PER_WORLD):
            done |= play(asked.dir, ledger, seeds[start : start + ROUNDS_PER_WORLD], finished)
    return report(figures.total(done[seed] for seed in wanted if seed in done), [s for s in wanted if s not in done])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fence", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first round's seed (default 1)")
    parser.add_argument("--runs", type=int, default=10, help="how many rounds (default 10)")
    parser.add_argument(
        "--ledger", choices=(*KINDS, "both"), default="both", help="both (default): two seeds on each by turns"
    )
    parser.add_argument("--dir", type=Path, default=Path(".fence"), help="state and failures (default .fence)")
    parser.add_argument("--again", action="store_true", help="play finished seeds again")
    return parser.parse_args()


def ledger_of(seed: int, asked: str) -> str:
    """Two neighbours have all kinds of faults between them, so both play on one database."""
    return KINDS[seed // 2 % 2] if asked == "both" else asked


def play(folder: Path, ledger: str, seeds: list[int], finished: figures.Finished) -> dict[int, dict[str, float]]:
    done: dict[int, dict[str, float]] = {}
    with world(scratch(folder), ledger) as made:
        for seed in seeds:
            try:
                played = patiently(made, plan(seed, ledger))
            except ShownLittle as little:
                print(f"seed={seed} ledger={ledger} to be played again: {little}", flush=True)
                continue
            if figures.version() != finished.version:
                sys.exit("The code was changed during the run, so its rounds are no evidence; run it in a clone.")
            done[seed] = finished.add(seed, ledger, played)
            print(
                f"seed={seed} ledger={ledger} {'clean' if played.verdict.clean else 'BROKEN'} "
                f"submissions={played.verdict.submissions} faults={sum(played.faults.values())} "
                f"fenced={played.fenced} repeats={played.verdict.outside_repeats} seconds={played.seconds:.1f}",
                flush=True,
            )
            if not played.verdict.clean:
                keep_evidence(made, folder / f"broken-{seed}-{ledger}", played)
    return done


def scratch(folder: Path) -> Path:
    """A fresh folder for a world; the last one's is removed."""
    place = (folder / "world").resolve()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def keep_evidence(made: World, place: Path, played: Played) -> None:
    """Copy history, ledger and logs, and say what was found."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "findings.txt").write_text("\n".join(played.verdict.findings) + "\n")
    (place / "history.jsonl").write_text("".join(json.dumps(event) + "\n" for event in played.events))
    with made.engine.connect() as connection, (place / "ledger.jsonl").open("w") as file:
        for table in (tables.jobs, tables.attempts, tables.steps, observer.arrows, observer.effects):
            for row in connection.execute(select(table)).mappings():
                file.write(json.dumps({"table": table.name, **row}, default=str) + "\n")
    for log in made.folder.glob("*.log"):
        shutil.copy(log, place)
    print("\n".join(played.verdict.findings[:20]), f"evidence kept in {place}", sep="\n", flush=True)


def report(totals: dict[str, float], unplayed: list[int]) -> int:
    print("\n".join(figures.lines(totals)))
    missing = figures.never_happened(totals)
    if missing:
        print(f"These faults never happened, so the run proves nothing about them: {', '.join(missing)}")
    if unplayed:
        print(f"These rounds showed too little on so busy a host; the next call plays them again: {unplayed}")
    return 0 if figures.clean(totals) and not missing and not unplayed else 1


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    print(f"this_call_seconds={time.monotonic() - began:.0f}")
    sys.exit(status)
