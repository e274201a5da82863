"""What was accepted is there and has ended as it was to end; what was not is not there."""

from __future__ import annotations

from collections import Counter, defaultdict

from celadon.states import FINAL, State
from tests.fence.checker.evidence import Evidence, Job, Verdict

# Runs of a job that kills whatever runs it: the first two make a suspect of it, three alone convict it, and so do nine
# that others may have ended as well (celadon/ledger/blame.py). The rest is room for runs that count for nothing: the
# schedulers had not been there, or its worker was being stopped.
MOST_RUNS_OF_POISON = 16


def submissions(evidence: Evidence, verdict: Verdict) -> None:
    """What was acknowledged is in the ledger; what was rolled back or refused is not, or did not run."""
    jobs = {job.id: job for job in evidence.jobs}
    touched = {effect.job_id for effect in evidence.effects}
    verdict.submissions = sum(1 for _ in evidence.named("calling"))
    for event in evidence.named("failed"):
        if event["error"].startswith("LedgerUnavailable"):
            verdict.unavailable += 1
        else:
            verdict.object("errors", f"{event['label']} could not be submitted: {event['error']}")
    by_key: dict[str, set[str]] = defaultdict(set)
    for event in evidence.named("acknowledged"):
        verdict.acknowledged += 1
        by_key[event["key"] or event["label"]].add(event["job_id"])
        if event["job_id"] not in jobs:
            verdict.object("lost", f"{event['label']} was acknowledged as {event['job_id']}, which has no row")
    for key, ids in by_key.items():
        if len(ids) > 1:
            verdict.object("doubled", f"the key {key} was acknowledged as {len(ids)} jobs: {sorted(ids)}")
    for event in evidence.named("rolled_back"):
        if event["job_id"] in jobs or event["job_id"] in touched:
            verdict.object("ghosts", f"{event['label']} was rolled back and yet is in the ledger")
    labels = {job.label for job in evidence.jobs}
    joint = {event["label"] for event in evidence.named("calling") if event.get("how") == "session"}
    for label in sorted(joint & labels - set(evidence.notes)):
        verdict.object("ghosts", f"{label} is a job, but what its caller stored with it is not there")
    for label in sorted(set(evidence.notes) - labels):
        verdict.object("lost", f"what the caller stored with {label} is there, but the job is not")
    for event in evidence.named("refused"):
        verdict.refused += 1
        job = jobs.get(event["job_id"])
        if job is not None and job.state != State.CANCELLED:
            verdict.object("ghosts", f"{event['label']} was refused and yet is {job.state}")


def ends(evidence: Evidence, verdict: Verdict) -> None:
    """Every job in the ledger, acknowledged or not, has come to the end it was made for."""
    refused = {event["job_id"] for event in evidence.named("refused")}
    in_doubt = {e["label"] for e in evidence.named("calling")} - {
        e["label"] for e in evidence.events if e["event"] in ("acknowledged", "refused", "rolled_back", "failed")
    }
    replaced = {schedule.name for schedule in evidence.schedules if schedule.overlap == "replace"}
    labels = Counter(job.label for job in evidence.jobs)
    for label, count in labels.items():
        if count > 1:
            verdict.object("doubled", f"{label} is {count} jobs")
    for job in evidence.jobs:
        ours = job.label.startswith(f"{evidence.seed}-")
        if not ours:
            verdict.object("ghosts", f"{job.label} ({job.id}) belongs to another round")
        elif job.state == State.CANCELLED and (job.id in refused or job.label in in_doubt):
            continue  # Refused; or its submitter was killed between refusing it and saying so.
        elif job.state not in FINAL:
            verdict.object("lost", f"{job.label} ({job.kind}, {job.id}) ended as {job.state}: {job.reason}")
        elif job.kind in evidence.poison:
            _condemned(job, sum(event["job_id"] == job.id for event in evidence.named("start")), verdict)
        elif job.state == State.CANCELLED and job.schedule in replaced:
            continue  # Whether it was the next one's turn is asked with the schedules.
        elif job.state != State.SUCCEEDED:
            verdict.object("lost", f"{job.label} ({job.kind}, {job.id}) is {job.state}: {job.reason}")


def _condemned(job: Job, runs: int, verdict: Verdict) -> None:
    """Who kills its worker each time is dead by the crash limit, and after few runs."""
    if job.state != State.DEAD or "CrashLimit" not in str(job.reason):
        verdict.object("misjudged", f"{job.label} ({job.id}) kills whatever runs it and is {job.state}: {job.reason}")
    elif runs > MOST_RUNS_OF_POISON:
        verdict.object("misjudged", f"{job.label} ({job.id}) killed {runs} processes before it was stopped")
    else:
        verdict.condemned += 1
