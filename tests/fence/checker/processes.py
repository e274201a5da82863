"""Processes: a worker that lives and takes no more jobs finds it out, and is replaced."""

from __future__ import annotations

from math import inf

from tests.fence.checker.evidence import Evidence, Verdict

# The settings of a run let a worker find it out within three seconds. What is promised with any, on any host, is this.
GONE_WITHIN_S = 60.0


def processes(evidence: Evidence, verdict: Verdict) -> None:
    gone = {event["who"]: event["at"] for event in evidence.named("gone")}
    for event in evidence.named("fault"):
        if event["action"] == "hang" and gone.get(event["pid"], inf) > event["at"] + GONE_WITHIN_S:
            verdict.object("stuck", f"process {event['pid']} hung at {event['edge']} and was left as it was")
