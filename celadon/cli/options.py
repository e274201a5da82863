"""Values that several commands take, read in one way."""

from __future__ import annotations

import json
from datetime import datetime
from typing import get_args

import click

from celadon.limits import Kind

KINDS = get_args(Kind)

of_kind = click.option("--kind", type=click.Choice(KINDS), default="queue", show_default=True, help="What NAME names.")


class Moment(click.ParamType[datetime]):
    """An instant. One without a zone would be another in every shell."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write it as 2027-01-31T08:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no zone; write it as {moment.isoformat()}Z, or with +01:00 for Z", param, ctx)
        return moment


class Json(click.ParamType[object]):
    """A JSON value."""

    name = "json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)


class Payload(click.ParamType[dict[str, object]]):
    """A JSON object."""

    name = "json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, object]:
        payload = Json().convert(value, param, ctx)
        if not isinstance(payload, dict):
            self.fail(f"{value!r} is no JSON object; write it as '{{\"field\": 1}}'", param, ctx)
        return payload
