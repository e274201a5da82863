"""Every error the platform raises: one class per case, the docstring is the default message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta


class CeladonError(Exception):
    """Something went wrong in Celadon."""

    def __init__(self, message: str | None = None, **facts: object) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        for name, value in facts.items():
            setattr(self, name, value)


class DeclarationError(CeladonError):
    """A job is declared in a way that can't hold."""


class UnknownJob(CeladonError):
    """No job of that name is declared."""

    name: str


class UnknownQueue(CeladonError):
    """No lane works a queue of that name."""

    queue: str


class InvalidPayload(CeladonError):
    """The payload does not fit the job's parameters."""

    problems: Sequence[str] = ()


class PayloadTooLarge(CeladonError):
    """The payload is larger than the limit."""


class InvalidOption(CeladonError):
    """An option has a value that can't be meant."""

    option: str | None = None  # Its name, where it is one alone.


class InvalidLimit(InvalidOption):
    """A limit says what can't be meant."""


class KeyConflict(CeladonError):
    """The idempotency key was used before with another payload or tenant."""

    key: str
    job_id: str


class LedgerUnavailable(CeladonError):
    """The ledger's database can't be reached. Nothing was accepted, unless `job_id` can be found."""

    job_id: str | None = None
    retry_after_s: int = 1


class Refused(CeladonError):
    """The broker is unavailable and the job's policy is to refuse; nothing will run."""

    job_id: str


class UnknownJobId(CeladonError):
    """There is no job of that id."""

    job_id: str


class UnknownApiKey(CeladonError):
    """There is no API key of that id."""


class UnknownSchedule(CeladonError):
    """There is no schedule of that name."""

    name: str


class NotAllowed(CeladonError):
    """The job is in a state in which this can't be done."""


class Permanent(CeladonError):
    """Raised by a job to say that trying again can't help: the job is dead at once."""


class RetryIn(CeladonError):
    """Raised by a job: this try has failed, and the next one comes after a pause that the job chooses."""

    def __init__(self, seconds: timedelta | float, message: str | None = None) -> None:
        """seconds: the pause, instead of the declared backoff; out of attempts, the job is dead all the same."""
        super().__init__(message)
        self.seconds = _pause_s(seconds)


class DeliveryFailed(RetryIn):
    """A delivery to another service did not succeed; it is tried again after the queue's backoff."""


class DeliveryRefused(Permanent):
    """A delivery to another service was answered in a way that another try can't change."""


class CallbackFailed(CeladonError):
    """Whoever asked to be told how a job has ended could not be told; it is tried again."""


class StepsFailed(CeladonError):
    """Some independent steps failed; the others are done."""

    def __init__(self, errors: dict[str, Exception], permanent: bool) -> None:
        self.errors = errors
        self.permanent = permanent
        super().__init__("; ".join(f"{name}: {error}" for name, error in errors.items()))


class StepNameUsedTwice(Permanent):
    """A step's name was used twice in one run; a name is the step's identity, so give each its own."""


class InvalidTable(CeladonError):
    """The registration file of the delegated queues can't be used."""

    problems: Sequence[str] = ()  # Each `file:line: what is wrong; the cure`.


class Unresolved(CeladonError):
    """A service has no address now: its name is not known, or the resolver does not answer."""

    service: str | None = None
    host: str | None = None


class TargetNotAllowed(CeladonError):
    """An address that nothing may be delivered to."""

    host: str


class UnusableKeys(CeladonError):
    """Signing keys can't be read, or are none."""


class Departure(BaseException):
    """A run that has to end now for a reason that is not the job's fault.

    A BaseException, so that a job's own `except Exception` does not swallow it.
    """


class LostClaim(Departure):
    """The claim is gone: another run has it, or it was cancelled. Nothing of this run may be written."""


class Interrupted(Departure):
    """The worker is stopping, or the inline run is over its budget: the job goes back to its queue."""


class TooLate(Departure):
    """The run came to its beginning later than its limit's window allows: the job goes back, to wait for its turn."""


class Postponed(Departure):
    """Raised by a job: it can't go on now for no fault of its own. It runs again later, and no try is burnt."""

    def __init__(self, seconds: timedelta | float, reason: str) -> None:
        """seconds: when it runs again, from now on. reason: kept in the job's timeline."""
        super().__init__(reason)
        self.seconds = _pause_s(seconds)


class CancelRequested(Departure):
    """An operator asked for this running job to be cancelled."""


class Expired(CancelRequested):
    """The job's time was over before anybody began with it: it is cancelled."""


class Asleep(Departure):
    """The job sleeps until `wake_at` and frees its worker."""

    def __init__(self, wake_at: object) -> None:
        self.wake_at = wake_at
        super().__init__(f"asleep until {wake_at}")


def _pause_s(length: timedelta | float) -> float:
    """A pause in seconds. Raises InvalidOption."""
    from celadon.times import seconds

    return seconds("seconds", length) or 0.0
