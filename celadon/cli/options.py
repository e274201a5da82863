"""Values that several commands take, read in one way."""

from __future__ import annotations

from datetime import datetime

import click


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
