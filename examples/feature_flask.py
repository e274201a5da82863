"""A service that has jobs delivered to it, with Flask: each is done once, however often it is delivered.

Run it: `.venv/bin/python -m examples.feature_flask` delivers a job to it, as the platform does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from flask import Flask

from celadon_feature import Delivery, Feature, Permanent, SqliteStore, new_key
from celadon_feature.flask import blueprint
from celadon_feature.testing import delivery, signed

mailbox: list[str] = []


def create_app(keys: str, store: Path) -> Flask:
    """The service. keys: what the queue's registration signs with. store: a file that all its processes share."""
    feature = Feature(keys=keys, store=SqliteStore(store))

    @feature.handler("email")
    def send(delivery: Delivery) -> dict[str, str]:
        if "@" not in delivery.data["to"]:
            raise Permanent(f"{delivery.data['to']} is no address")
        mailbox.append(delivery.data["to"])
        return {"sent_to": delivery.data["to"]}

    app = Flask(__name__)
    app.register_blueprint(blueprint(feature))
    return app


def main() -> None:
    keys = new_key()  # A service reads it from where its secrets are.
    with tempfile.TemporaryDirectory() as folder:
        client = create_app(keys, Path(folder) / "deliveries.db").test_client()

        for title in ("delivered", "again"):
            headers, body = delivery("email", {"to": "ada@example.org"}, keys=keys, job_id="job-1")
            answer = client.post("/internal/process-job", headers=headers, data=body)
            replayed = answer.headers.get("Idempotent-Replayed", "false")
            print(f"{title}: {answer.status_code} {answer.text}, replayed: {replayed}, mails: {len(mailbox)}")

        asked = client.get("/internal/process-job/job-1", headers=signed("job-1", keys=keys))
        print(f"asked for: {asked.text}")

        headers, body = delivery("email", {"to": "nobody"}, keys=keys)
        print(f"refused for good: {client.post('/internal/process-job', headers=headers, data=body).text}")
        headers, body = delivery("email", {"to": "eve@example.org"}, keys=new_key())
        print(f"not signed by us: {client.post('/internal/process-job', headers=headers, data=body).status_code}")


if __name__ == "__main__":
    main()
