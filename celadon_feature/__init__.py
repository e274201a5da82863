"""The receiving side of delegated queues: a service verifies, does and answers the jobs that Celadon delivers to it.

    from celadon_feature import Delivery, Feature, SqliteStore

    feature = Feature(keys="whsec_…", store=SqliteStore("/var/lib/mail/deliveries.db"))

    @feature.handler("email")
    def send(delivery: Delivery) -> dict[str, str]:
        return {"sent_to": delivery.data["to"]}

`celadon_feature.flask.blueprint(feature)` and `celadon_feature.asgi.app(feature)` serve it; `feature.handle(…)` serves
it behind anything else.

THE STORE MUST BE SHARED BY ALL REPLICAS of the service. It is what knows which jobs are done: a replica with a store of
its own does again what another has done.
"""

from celadon_feature.answers import Answer
from celadon_feature.deliveries import Delivery, Permanent
from celadon_feature.feature import Feature
from celadon_feature.signing import new_key
from celadon_feature.stores import NotShared, Store, StoreUnavailable
from celadon_feature.stores.sqlite import SqliteStore

__all__ = [
    "Answer",
    "Delivery",
    "Feature",
    "NotShared",
    "Permanent",
    "SqliteStore",
    "Store",
    "StoreUnavailable",
    "new_key",
]
