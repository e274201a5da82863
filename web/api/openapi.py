"""The API's OpenAPI 3.1 document, made from the table that serves it: what is not in the table is not served."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from web.api.addressed import KINDS
from web.api.asked import key_pattern
from web.api.models import MAX_NAME, Problem
from web.api.route import Route

INFO = """Submit background jobs, look at them and steer them; schedules, limits and pauses; and order from the shop.

Errors are `application/problem+json` (RFC 9457). Programs show a key, as `Authorization: Bearer cel_…`; its scopes
say what it may: `produce` submits jobs, `read` looks at them, `operate` steers them. A key may make so many requests
in any minute (API_RATE); above it the answer is 429 with `Retry-After`. While the ledger is away the answer is 503
with `Retry-After`, and nothing is known to be accepted: repeat the request with the same `Idempotency-Key`, or look for
the `job_id` that it gives."""

EVENTS = "text/event-stream"
_REF = "#/components/schemas/{model}"
_NAMED = {
    "description": "Percent-encoded; slashes may be left as they are.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": r"^[^\x00]*$"},
}
_IN_PATHS: dict[str, dict[str, Any]] = {  # By converter, see web/api/addressed.py.
    "job": {"schema": {"type": "string", "minLength": 1}},
    "uuid": {"schema": {"type": "string", "format": "uuid"}},
    "kind": {"schema": {"enum": list(KINDS)}},
    "named": _NAMED,
    "schedule": _NAMED,
}
_SECONDS = {"description": "In how many seconds to come again.", "schema": {"type": "integer", "minimum": 1}}
_MEANS = {
    400: "The request can't be read.",
    401: "There is no key, or no good one.",
    403: "The key lacks the scope, or a page of another site sent the request.",
    404: "There is no such thing.",
    409: "The job is in another state, the name is taken, or it is to be changed in the configuration.",
    413: "The body or the payload is too large.",
    415: "The body is not said to be JSON.",
    422: "The request does not fit; `errors` says what to mend.",
    429: "Too many requests.",
    503: "The ledger can't be reached, or as many streams as allowed are open; or the job is refused with the broker.",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document, JSON-ready."""
    schemas, components = _schemas(tuple(routes))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/api{route.rule}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Celadon", "version": version("celadon"), "description": INFO},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
            "responses": {f"Problem{status}": _problem(status) for status in _MEANS},
        },
    }


def problems(route: Route) -> list[int]:
    """The statuses other than good that a route may answer, from what it takes and asks."""
    found = set(route.problems)
    if route.asks_ledger:
        found |= {401, 429, 503}  # A key that is given is looked at, on every route.
    if route.scope or route.method != "GET":
        found.add(403)
    if "<" in route.rule:
        found.add(404)
    if route.body:
        found |= {400, 413, 415, 422}
    if route.query:
        found.add(422)
    return sorted(found)


def _operation(route: Route, schemas: dict[tuple[str, str], Any]) -> dict[str, Any]:
    summary, _, text = inspect.cleandoc(route.view.__doc__ or "").partition("\n\n")
    holds = schemas[route.name, "answer"]
    good: dict[str, Any] = {
        "description": HTTPStatus(route.status).phrase,
        "content": {route.media: {"schema": _event(holds) if route.media == EVENTS else holds}},
    }
    if route.headers:
        good["headers"] = {
            name: {"description": says, "schema": {"type": "string"}} for name, says in route.headers.items()
        }
    answers = {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in problems(route)}
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary,
        "description": text,
        "parameters": _parameters(route, schemas),
        "responses": {str(route.status): good, **answers},
    }
    if route.scope is not None:
        made["description"] += f"\n\nTakes the scope `{route.scope}`."
        made["security"] = [{"key": [route.scope.value]}]
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route.name, "body"]}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _event(holds: dict[str, Any]) -> dict[str, Any]:
    """One event of a stream."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": holds}
    return {
        "description": "One event.",
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {"id": {"type": "string"}, "event": {"enum": ["change", "end"]}, "data": data},
    }


def _parameters(route: Route, schemas: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", route.rule):
        made.append({"name": name, "in": "path", "required": True, **_IN_PATHS[kind]})
    if route.query is not None:
        for name, field in schemas[route.name, "query"]["properties"].items():
            facts = dict(field)
            if "anyOf" in facts:  # Or null, which no text is.
                facts |= facts.pop("anyOf")[0]
            made.append({"name": name, "in": "query", "description": facts.pop("description"), "schema": facts})
    if route.max_key:
        says = "Names this request, so that it may be repeated: the first one's answer stands."
        schema = {"type": "string", "pattern": key_pattern(route.max_key)}
        made.append({"name": "Idempotency-Key", "in": "header", "description": says, "schema": schema})
    return made


def _problem(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": _MEANS[status],
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    if status in _HEADERS:
        made["headers"] = _HEADERS[status]
    return made


class _Brief(GenerateJsonSchema):
    """Without titles, which only repeat names, and without defaults of null, which say no more than "not required"."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}


@cache
def _schemas(routes: tuple[Route, ...]) -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
    """The schema of each body, query and answer, by (route, which), and all that they refer to."""
    wanted: list[tuple[tuple[str, str], Any, Any]] = [(("", "problem"), "serialization", TypeAdapter(Problem))]
    for route in routes:
        wanted.append(((route.name, "answer"), "serialization", TypeAdapter(route.answer)))
        wanted += [
            ((route.name, which), "validation", TypeAdapter(model))
            for which, model in (("body", route.body), ("query", route.query))
            if model is not None
        ]
    made, found = TypeAdapter.json_schemas(wanted, ref_template=_REF, schema_generator=_Brief)
    components = found["$defs"]
    # Payloads are told only to those who ask for them.
    for view in ("JobView", "ScheduleView"):
        components[view]["required"].remove("payload")
    schemas = {name: schema for (name, _), schema in made.items()}
    for route in routes:
        if route.query is not None:  # Each of its fields is a parameter by itself.
            schemas[route.name, "query"] = components.pop(route.query.__name__)
    return schemas, components
