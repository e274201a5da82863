"""The fence suite: rounds of submissions under seeded faults, and a judge that reads what really happened.

`make fence SEED=1 RUNS=500` runs it long; `tests/fence/test_fence.py` runs a few rounds in `make test`.

- `history`, `observer`: what the jobs did, written by themselves and by triggers in the database
- `checker`: the judge over both, a file for each kind of rule
- `faults`, `edges`: processes that kill, stop or deceive themselves at an edge of submit or run
- `jobs`, `celeryconfig`: the jobs and how they are worked
- `zygote`: processes ready made, by fork
- `submitter`, `operator`: processes that submit, and that make schedules and pause
- `plan`: what one seed means
- `world`: servers, processes and ledger of a run
- `round`, `collect`: one round from the first submission to the verdict, and the evidence for that
- `figures`, `__main__`: many rounds, resumable, and the closing lines
"""
