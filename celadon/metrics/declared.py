"""Every metric of the platform: its name, meaning, labels and buckets. docs/reference/metrics.md is written from here.

Labels are bounded: names of declared jobs, queues and routes, words of an enum, HTTP's status codes. What somebody
outside can choose freely is never a label.
"""

from __future__ import annotations

from celadon.metrics.kinds import Count, Level, Metric, Reading, Spread

# --- submissions ------------------------------------------------------------------------------------------------------

SUBMISSIONS = Count(
    name="celadon_submissions_total",
    meaning=(
        "Submissions by what became of them: a receipt's outcome, or the class of the error that refused them. "
        "A name that is not declared is told as (unknown); a submission in a session is told when that commits."
    ),
    labels=("name", "outcome"),
)
SUBMIT_SECONDS = Spread(
    name="celadon_submit_seconds",
    meaning="Time `submit` took; refusals, and submissions in a session or in bulk, are left out.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    why="a commit takes 1 to 10 ms, a broker that is away 0.16 s, a confirmation 0.25 s, an inline run up to 10 s",
)

# --- runs -------------------------------------------------------------------------------------------------------------

PICKUP_SECONDS = Spread(
    name="celadon_pickup_seconds",
    meaning="Time from a job's coming into `queued` to its claim, by the ledger's clock.",
    labels=("queue",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    why="milliseconds with a free worker, a quarter second is a confirmation's budget, minutes are a backlog",
)
LATENESS_SECONDS = Spread(
    name="celadon_lateness_seconds",
    meaning="Time from the due time to the first claim, of jobs that were due later or come from a schedule.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
    why="a scheduler looks every quarter second; many seconds mean that none ran, or that the workers were busy",
)
RUN_SECONDS = Spread(
    name="celadon_run_seconds",
    meaning="Time from a job's claim to the end of the attempt, however it ended; crashes have none.",
    labels=("name",),
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400),
    why="from a mail to the four hours that a job of `data_sync` may take",
)
ATTEMPTS = Count(
    name="celadon_attempts_total",
    meaning=(
        "Attempts that ended, by outcome: succeeded, failed, timed_out, asleep, interrupted, crashed, lost, cancelled."
    ),
    labels=("name", "outcome"),
)
LATE_RUNS = Count(
    name="celadon_late_runs_total",
    meaning=(
        "Runs that were put back because they came to their beginning later than the window of their limit allows: the "
        "ledger is slow to answer, or the worker has more to compute than cores."
    ),
    labels=("name",),
)

# --- delegation -------------------------------------------------------------------------------------------------------

DELIVERIES = Count(
    name="celadon_deliveries_total",
    meaning=(
        "Requests about jobs of delegated queues, by what was asked of the service (`post` the job, or `ask` after it) "
        "and what became of the job: succeeded, failed, dead, postponed, asked, asked_again, posted_again, not_askable."
    ),
    labels=("queue", "what", "outcome"),
)
DELIVERY_SECONDS = Spread(
    name="celadon_delivery_seconds",
    meaning="Time from such a request to the end of its answer, or to giving up.",
    labels=("queue",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    why="milliseconds in a cluster, a second for a mail, a minute for a picture",
)
ENDPOINT_OPENINGS = Count(
    name="celadon_endpoint_circuit_openings_total",
    meaning="How often a service was taken for away, since nothing connected to it.",
    labels=("service",),
)

# --- how it stands ----------------------------------------------------------------------------------------------------

CIRCUIT_OPEN = Level(
    name="celadon_circuit_open",
    meaning="1 while the process takes the broker for away and does not try it, else 0.",
)
JOBS = Reading(
    name="celadon_jobs",
    meaning=(
        "Jobs in the ledger by state, exact up to a million. How many that succeeded or were cancelled are kept is a "
        "rule. Every scheduler tells it: use max."
    ),
    labels=("state",),
)
QUEUE_JOBS = Reading(
    name="celadon_queue_jobs",
    meaning="Queued jobs of each declared queue, exact up to a million. Every scheduler tells it: use max.",
    labels=("queue",),
)
QUEUE_OLDEST_AGE_SECONDS = Reading(
    name="celadon_queue_oldest_age_seconds",
    meaning=(
        "How long the oldest job of the queue has been queued, 0 when it is empty; of more than 10,000 jobs, the "
        "oldest of those that are next. Every scheduler tells it: use max."
    ),
    labels=("queue",),
)
GATE_WAITING = Reading(
    name="celadon_gate_waiting",
    meaning=(
        "Jobs that wait at a queue or a job's name that is limited or paused, exact up to 10,000. Those that wait for "
        "a tenant's limit or pause are not told: tenants are nobody's to count. Every scheduler tells it: use max."
    ),
    labels=("kind", "name"),
)
SCHEDULES_OVERDUE = Reading(
    name="celadon_schedules_overdue",
    meaning=(
        "Schedules that came due more than a minute ago and have not fired: their job is not declared or their payload "
        "no longer fits it, their previous job has not ended, or the schedulers are behind. Every scheduler tells it: "
        "use max."
    ),
)
BUILD_INFO = Reading(
    name="celadon_build_info",
    meaning="Always 1; the labels name the version and the kind of process: web, worker or beat.",
    labels=("version", "python", "process"),
)

# --- the web ----------------------------------------------------------------------------------------------------------

HTTP_REQUESTS = Count(
    name="celadon_http_requests_total",
    meaning="Requests answered, by method, the route's template (never the path) and status.",
    labels=("method", "route", "status"),
)
HTTP_REQUEST_SECONDS = Spread(
    name="celadon_http_request_seconds",
    meaning="Time until the last byte of the answer was handed over; a stream counts whole.",
    labels=("method", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
    why="pages take milliseconds, a request that waits for a job up to 30 s, a stream up to 120 s",
)


def every() -> list[Metric]:
    """All of them, in the order above."""
    return [metric for metric in globals().values() if isinstance(metric, Metric)]
