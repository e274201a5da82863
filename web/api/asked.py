"""Reading a request: its body and its query as models, and its idempotency key; what does not fit is told by field."""

from __future__ import annotations

import math
import re
from typing import TypeVar

from flask import abort, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from services.orders.errors import Problem
from web.api.models import MAX_NAME
from web.problems import invalid, problem

M = TypeVar("M", bound=BaseModel)


def key_pattern(most: int) -> str:
    """Visible ASCII. No comma: that is how a server joins a header that was sent twice."""
    return rf"^[!-+\--~]{{1,{most}}}$"


def body(model: type[M]) -> M:
    """The body. 415 if it is said to be no JSON, 413 if it is too large, 400 if it is none, 422 if it does not fit."""
    if not request.is_json:
        abort(problem(415, "The body must be JSON, sent as application/json."))
    try:
        return model.model_validate_json(_read())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            abort(problem(400, f"The body is not JSON: {found[0]['msg']}."))
        abort(invalid(misfits(error)))


def _read() -> bytes:
    most = request.max_content_length or math.inf
    try:
        read = request.get_data()
    except RequestEntityTooLarge:
        read = None
    # Of a body whose length nobody told, no more than the limit is read, and the rest is cut off without a word.
    if read is None or (request.content_length is None and len(read) >= most):
        abort(problem(413, f"The body is larger than the {most} bytes that are allowed here.", "too-large"))
    return read


def query(model: type[M]) -> M:
    """The parameters in the address. 422 if they do not fit; one given twice that is no list does not either."""
    given: dict[str, str | list[str]] = {}
    for name, values in request.args.lists():
        field = model.model_fields.get(name)
        given[name] = values if len(values) > 1 or (field and isinstance(field.default, list)) else values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        abort(invalid(misfits(error)))


def idempotency_key(most: int = MAX_NAME) -> str | None:
    """The header Idempotency-Key, of at most so many characters. 400 if it can't be one."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(key_pattern(most), key):
        abort(problem(400, f"An Idempotency-Key has 1 to {most} visible ASCII characters here, none of them a comma."))
    return key


def misfits(error: ValidationError) -> list[Problem]:
    """What to mend, by field."""
    return [
        Problem(field=".".join(map(str, each["loc"])) or "body", message=each["msg"].removeprefix("Value error, "))
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
