"""Declaring jobs: one decorated function is one job."""

from __future__ import annotations

import difflib
import inspect
import os
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from celadon.errors import DeclarationError, InvalidPayload, UnknownJob
from celadon.queues import FALLBACKS, lane_of, queue_for

INJECTED = "steps"  # The parameter a job function receives its steps in; never part of a payload.


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Everything that is declared about a job."""

    name: str
    function: Callable[..., Any]
    model: type[BaseModel]
    takes_steps: bool
    queue: str | None
    attempts: int
    backoff: timedelta
    backoff_cap: timedelta
    timeout: timedelta | None
    keep: int
    keep_for: timedelta
    keep_bytes: int | None
    keep_dead_for: timedelta | None
    alert_after: int
    fallback: str | None
    confirm: bool
    permanent: tuple[type[Exception], ...]
    scope: str | None
    adopt: bool

    def validate(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload in its JSON form. Raises InvalidPayload that lists every problem."""
        plain: dict[str, Any] = self._parse(payload).model_dump(mode="json")
        return plain

    def arguments(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The function's keyword arguments, in the types it declares. Raises InvalidPayload."""
        model = self._parse(payload)
        return {field: getattr(model, field) for field in type(model).model_fields}

    def _parse(self, payload: Mapping[str, Any]) -> BaseModel:
        if not isinstance(payload, Mapping):
            raise InvalidPayload(
                f"The payload of {self.name!r} is {type(payload).__name__}; give a mapping of its fields"
            )
        try:
            return self.model.model_validate(dict(payload))
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in error.errors()]
            raise InvalidPayload(
                f"The payload does not fit {self.name!r}: " + "; ".join(problems), problems=problems
            ) from error

    def scope_of(self, payload: Mapping[str, Any]) -> str | None:
        """The business key of the step marks. Raises InvalidPayload if the ledger can't hold it."""
        if self.scope is None:
            return None
        scope = self.scope.format(**payload)
        if not storable(scope):
            raise InvalidPayload(
                f"scope={self.scope!r} gives {len(scope)} characters; 1 to 200 are allowed, none of them NUL"
            )
        return scope

    def queue_of(self, *, delayed: bool) -> str:
        return queue_for(self.name, declared=self.queue, delayed=delayed)

    def fallback_on(self, queue: str) -> str:
        return self.fallback or lane_of(queue).fallback


_definitions: dict[str, Definition] = {}


def storable(key: str) -> bool:
    """Whether the ledger can hold a key or name: 1 to 200 characters, no NUL, no lone surrogate."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(key) <= 200 and "\x00" not in key


def declare(name: str, function: Callable[..., Any], **options: Any) -> Definition:
    """Check and register a declaration. Raises DeclarationError, which names the value and the cure."""
    model = _model(name, function)
    _check(name, function, model, options)
    definition = Definition(
        name=name,
        function=function,
        model=model,
        takes_steps=INJECTED in inspect.signature(function).parameters,
        **options,
    )
    _definitions[name] = definition
    return definition


def get(name: str) -> Definition:
    """The declaration of a job. Raises UnknownJob, with the nearest name.

    A process that has not imported its jobs yet does so at the first name that it does not know.
    """
    if name not in _definitions:
        from celadon.app import load

        load()
    try:
        return _definitions[name]
    except KeyError:
        near = difflib.get_close_matches(name, _definitions, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"declared are: {', '.join(sorted(_definitions)) or 'none'}"
        raise UnknownJob(
            f"No job {name!r} is declared; {hint} (a job's module must be listed in celeryconfig.imports)",
            name=name,
        ) from None


def known() -> Mapping[str, Definition]:
    return _definitions


def _model(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model of the function's parameters; unknown fields are refused."""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.name == INJECTED:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DeclarationError(
                f"Job {name!r}: parameter {parameter} can't be a payload field; name each field as a plain parameter"
            )
        kind = Any if parameter.annotation is parameter.empty else parameter.annotation
        fields[parameter.name] = (kind, ... if parameter.default is parameter.empty else parameter.default)
    return create_model(
        f"Payload of {name}",
        __config__=ConfigDict(
            extra="forbid",
            protected_namespaces=(),
            allow_inf_nan=False,
            ser_json_inf_nan="constants",
            # An error's text goes into logs and to Sentry: the payload may not go with it.
            hide_input_in_errors=True,
        ),
        **fields,
    )


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both are one function of a module that was imported twice: again, or under the name `__main__` too."""
    if one.__qualname__ != other.__qualname__:
        return False
    return one.__module__ == other.__module__ or _file(one) == _file(other) is not None


def _file(function: Callable[..., Any]) -> str | None:
    """Where it was written itself, however the file was named, and not the decorator around it."""
    file = inspect.getsourcefile(inspect.unwrap(function))
    return None if file is None else os.path.realpath(file)


def _check(name: str, function: Callable[..., Any], model: type[BaseModel], options: Mapping[str, Any]) -> None:
    def refuse(what: str) -> NoReturn:
        raise DeclarationError(f"Job {name!r}: {what}")

    other = _definitions.get(name)
    if other is not None and not _same(other.function, function):
        refuse(f"is declared twice, in {other.function.__module__} and {function.__module__}; give one another name")
    if not name or len(name) > 200:
        refuse("a name has 1 to 200 characters")
    if inspect.iscoroutinefunction(function):
        refuse("async functions are not run; declare a plain function (it may call asyncio.run)")
    if options["attempts"] < 1:
        refuse(f"attempts={options['attempts']}: at least 1")
    if options["backoff"] < timedelta(0):
        refuse(f"backoff={options['backoff']}: can't be negative")
    if options["timeout"] is not None and options["timeout"] <= timedelta(0):
        refuse(f"timeout={options['timeout']}: must be longer than nothing; None takes the lane's")
    if options["fallback"] not in (None, *FALLBACKS):
        refuse(f"fallback={options['fallback']!r}: one of {', '.join(FALLBACKS)}, or None for the lane's")
    if options["queue"] is not None:
        lane_of(options["queue"])
    permanent = options["permanent"]
    if not isinstance(permanent, tuple) or not all(isinstance(e, type) and issubclass(e, Exception) for e in permanent):
        refuse(f"permanent={permanent!r}: a tuple of exception classes, for example (ValueError,)")
    if options["alert_after"] < 1:
        refuse(f"alert_after={options['alert_after']}: at least 1")
    for name_of, value in (("keep_for", options["keep_for"]), ("keep_dead_for", options["keep_dead_for"])):
        if value is not None and value < timedelta(0):
            refuse(f"{name_of}={value}: how long jobs are kept can't be negative")
    if (options["keep_bytes"] or 0) < 0:
        refuse(f"keep_bytes={options['keep_bytes']}: how many bytes are kept can't be negative")
    if options["keep"] < 0:
        refuse(f"keep={options['keep']}: how many completed jobs are kept can't be negative")
    if options["scope"]:
        try:
            used = {field for _, field, _, _ in string.Formatter().parse(options["scope"]) if field is not None}
        except ValueError as error:
            refuse(f"scope={options['scope']!r} is no format string: {error}")
        missing = used - set(model.model_fields)
        if missing or not used:
            refuse(f"scope={options['scope']!r} must use the payload's fields ({', '.join(model.model_fields)})")
