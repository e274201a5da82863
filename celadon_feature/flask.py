"""A Flask blueprint for a feature (extra `flask`)."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from celadon_feature.answers import DRAIN_BYTES, Answer, too_large
from celadon_feature.feature import Feature

_PART_BYTES = 64 * 1024


def blueprint(feature: Feature, name: str = "celadon_feature") -> Blueprint:
    """Serves `feature` at its path; register it with the application.

    A job is done in the thread of its request. Give the server as many threads as deliveries may be under way at once,
    and some more for the questions that are asked meanwhile. An application with CSRF protection exempts it
    (`csrf.exempt(blueprint)`): deliveries are signed instead.
    """
    made = Blueprint(name, __name__)

    def process_job(job_id: str | None = None) -> Response:
        path = feature.path if job_id is None else f"{feature.path}/{job_id}"
        return _response(_answer(feature, path))

    made.add_url_rule(feature.path, endpoint="deliver", view_func=process_job, methods=["POST"])
    made.add_url_rule(f"{feature.path}/<job_id>", endpoint="state", view_func=process_job, methods=["GET"])
    return made


def _answer(feature: Feature, path: str) -> Answer:
    limit = feature.max_body_bytes
    request.max_content_length = limit + DRAIN_BYTES  # Whatever the application allows elsewhere.
    try:
        # What a hook of the application has read already is no more in the stream; the request has kept it.
        body = request.stream.read(limit + 1) or request.get_data()
        if len(body) > limit:
            while request.stream.read(_PART_BYTES):
                pass
    except RequestEntityTooLarge:
        return too_large(limit).answer()
    return feature.handle(request.method, path, dict(request.headers), body)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)
