"""The table of the API: every route, how it is served, and from the same facts how it is documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, jsonify, request

from celadon import JobView
from celadon.ledger.apikeys import Scope
from celadon.settings import settings
from web.api import asked, callers, jobs, openapi, operating, orders, products, submitting
from web.api.models import (
    MAX_NAME,
    Delegate,
    JobList,
    JobQuery,
    JobReceipt,
    ListQuery,
    Reschedule,
    Results,
    SubmitJob,
    SubmitJobs,
)
from web.api.route import LOCATION, Route
from web.api.shop_models import NewOrder, Order, PlacedOrder, Product
from web.api.steering import STEERING

AROUND_PAYLOAD = 16 * 1024  # Bytes of a job's body besides its payload: names, keys, white space.


def document() -> Response:
    """This document

    OpenAPI 3.1, made from the table that the routes are served from.
    """
    return jsonify(openapi.document(ROUTES))


def _one_job() -> int:
    return settings().max_payload_bytes + AROUND_PAYLOAD


ROUTES = (
    Route(
        method="POST",
        rule="/jobs",
        name="submit",
        view=submitting.one,
        scope=Scope.PRODUCE,
        body=SubmitJob,
        max_key=MAX_NAME,
        max_bytes=_one_job,
        status=202,
        answer=JobReceipt,
        headers=LOCATION,
    ),
    Route(
        method="POST",
        rule="/jobs/bulk",
        name="submit_many",
        view=submitting.many,
        scope=Scope.PRODUCE,
        body=SubmitJobs,
        max_key=submitting.MAX_PREFIX,
        max_bytes=lambda: settings().api_max_bulk_bytes,
        answer=Results,
    ),
    Route(
        method="POST",
        rule="/queues/<named:queue>/jobs",
        name="delegate",
        view=submitting.delegated,
        scope=Scope.PRODUCE,
        body=Delegate,
        max_key=MAX_NAME,
        max_bytes=_one_job,
        status=202,
        answer=JobReceipt,
        headers=LOCATION,
    ),
    Route(
        method="GET",
        rule="/jobs",
        name="jobs",
        view=jobs.every,
        scope=Scope.READ,
        query=ListQuery,
        answer=JobList,
        headers={"Link": 'With rel="next", where the next page is; absent on the last.'},
    ),
    Route(
        method="GET",
        rule="/jobs/<job:job_id>",
        name="job",
        view=jobs.one,
        scope=Scope.READ,
        query=JobQuery,
        answer=JobView,
    ),
    Route(
        method="GET",
        rule="/jobs/<job:job_id>/events",
        name="job_events",
        view=jobs.events,
        scope=Scope.READ,
        answer=JobView,
        media="text/event-stream",
    ),
    Route(
        method="POST",
        rule="/jobs/<job:job_id>/cancel",
        name="cancel",
        view=operating.cancel,
        scope=Scope.OPERATE,
        answer=JobView,
        problems=(409,),
    ),
    Route(
        method="POST",
        rule="/jobs/<job:job_id>/replay",
        name="replay",
        view=operating.replay,
        scope=Scope.OPERATE,
        answer=JobView,
        problems=(409,),
    ),
    Route(
        method="POST",
        rule="/jobs/<job:job_id>/run-now",
        name="run_now",
        view=operating.run_now,
        scope=Scope.OPERATE,
        answer=JobView,
        problems=(409,),
    ),
    Route(
        method="POST",
        rule="/jobs/<job:job_id>/reschedule",
        name="reschedule",
        view=operating.reschedule,
        scope=Scope.OPERATE,
        body=Reschedule,
        answer=JobView,
        problems=(409,),
    ),
    *STEERING,
    Route(method="GET", rule="/products", name="products", view=products.every, answer=list[Product]),
    Route(
        method="POST",
        rule="/orders",
        name="place",
        view=orders.place,
        body=NewOrder,
        max_key=MAX_NAME,
        status=202,
        answer=PlacedOrder,
        headers=LOCATION,
    ),
    Route(method="GET", rule="/orders/<uuid:order_id>", name="order", view=orders.one, answer=Order),
    Route(method="GET", rule="/openapi.json", name="openapi", view=document, answer=dict[str, Any], asks_ledger=False),
)


def served(route: Route) -> Callable[..., Response]:
    """The function that Flask calls: who asks, then what is asked, then the answer."""

    def serve(**given: Any) -> Response:
        if route.max_bytes is not None:
            request.max_content_length = route.max_bytes()
        if route.asks_ledger:
            callers.admit(route.scope)
        if route.query is not None:
            given["query"] = asked.query(route.query)
        if route.body is not None:
            given["body"] = asked.body(route.body)
        return route.view(**given)

    return serve
