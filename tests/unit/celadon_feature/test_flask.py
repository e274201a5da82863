"""The Flask blueprint, in applications that have rules of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask, request
from flask_wtf import CSRFProtect

from celadon_feature import Feature, SqliteStore, new_key
from celadon_feature.feature import PATH
from celadon_feature.flask import blueprint
from celadon_feature.testing import delivery, signed

KEY = new_key()


@pytest.fixture
def feature(tmp_path: Path) -> Feature:
    made = Feature(keys=KEY, store=SqliteStore(tmp_path / "deliveries.db"), max_body_bytes=1000)
    made.handler("email")(lambda delivery: delivery.data)
    return made


@pytest.fixture
def app() -> Flask:
    return Flask(__name__)


def test_a_job_is_done_answered_and_asked_for(app: Flask, feature: Feature) -> None:
    app.register_blueprint(blueprint(feature))
    client = app.test_client()
    headers, body = delivery("email", "ada", keys=KEY, job_id="job-1")

    done = [client.post(PATH, headers=headers, data=body) for _ in range(2)]
    asked = client.get(f"{PATH}/job-1", headers=signed("job-1", keys=KEY))

    assert [answer.json for answer in done] == [{"success": True, "result": "ada"}] * 2
    assert [answer.headers.get("Idempotent-Replayed") for answer in done] == [None, "true"]
    assert asked.json == {"state": "done", "success": True, "result": "ada", "attemptsMade": 0}
    assert done[0].content_type == "application/json"


def test_it_can_stand_under_a_prefix(app: Flask, feature: Feature) -> None:
    app.register_blueprint(blueprint(feature), url_prefix="/mail")
    headers, body = delivery("email", "ada", keys=KEY)
    assert app.test_client().post(f"/mail{PATH}", headers=headers, data=body).status_code == 200


@pytest.mark.parametrize("elsewhere", [10, None])
def test_its_limit_for_a_body_is_its_own(app: Flask, feature: Feature, elsewhere: int | None) -> None:
    app.config["MAX_CONTENT_LENGTH"] = elsewhere
    app.register_blueprint(blueprint(feature))
    statuses = []
    for data in ("x" * 500, "x" * 1000, "x" * 100_000, "x" * 10 * 1024 * 1024):
        headers, body = delivery("email", data, keys=KEY)
        statuses.append(app.test_client().post(PATH, headers=headers, data=body).status_code)
    assert statuses == [200, 413, 413, 413]


def test_a_hook_of_the_application_may_have_read_the_body_before(app: Flask, feature: Feature) -> None:
    @app.before_request
    def log() -> None:
        request.get_data()

    app.register_blueprint(blueprint(feature))
    answers = []
    for data in ("ada", "x" * 1000):
        headers, body = delivery("email", data, keys=KEY)
        answers.append(app.test_client().post(PATH, headers=headers, data=body))
    assert answers[0].json == {"success": True, "result": "ada"}
    assert answers[1].status_code == 413


def test_an_application_with_tokens_in_its_forms_exempts_it(app: Flask, feature: Feature) -> None:
    app.secret_key = "for tests"
    made = blueprint(feature)
    CSRFProtect(app).exempt(made)
    app.register_blueprint(made)
    headers, body = delivery("email", "ada", keys=KEY)
    assert app.test_client().post(PATH, headers=headers, data=body).status_code == 200


def test_other_methods_are_not_allowed(app: Flask, feature: Feature) -> None:
    app.register_blueprint(blueprint(feature))
    assert [app.test_client().open(PATH, method=method).status_code for method in ("GET", "PUT")] == [405, 405]
    assert app.test_client().head(f"{PATH}/job-1").status_code == 405
