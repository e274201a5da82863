"""The judge: reads a round's history and ledger, and says what was lost, doubled, stale or not allowed.

It knows the rules of `celadon/states.py` and nothing else of the platform. Everything it is given is plain data, so
that `tests/fence/test_checker*.py` can feed it histories in which something is wrong and see it object.

- `evidence`: what it is given, and what it says
- `submissions`, `effects`, `arrows`: jobs come to their one end
- `limits`, `pauses`: never more than allowed, never while held
- `schedules`: each due time once, and none left out but by the policy's words
- `processes`: who stops doing its work is replaced
"""

from __future__ import annotations

from tests.fence.checker.arrows import arrows
from tests.fence.checker.effects import committed, outside, results
from tests.fence.checker.evidence import Evidence, Verdict
from tests.fence.checker.limits import limits
from tests.fence.checker.pauses import pauses
from tests.fence.checker.processes import processes
from tests.fence.checker.schedules import schedules
from tests.fence.checker.submissions import ends, submissions


def judge(evidence: Evidence) -> Verdict:
    """Apply every rule to the evidence of one round."""
    verdict = Verdict(jobs=len(evidence.jobs))
    for rule in (submissions, ends, committed, results, outside, arrows, limits, pauses, schedules, processes):
        rule(evidence, verdict)
    return verdict
