"""The shop for people: whole without scripts, which only add live totals and live steps."""

from __future__ import annotations

from flask import Blueprint

from services.orders.money import money
from web import ledger
from web.shop import basket, catalogue, orders, visitor

blueprint = Blueprint("shop", __name__, template_folder="templates")
blueprint.before_request(ledger.require)
blueprint.add_url_rule("/", "catalogue", catalogue.show)
blueprint.add_url_rule("/basket", "basket", basket.show)
blueprint.add_url_rule("/basket", "change", basket.change, methods=["POST"])
blueprint.add_url_rule("/basket/add", "add", catalogue.add, methods=["POST"])
blueprint.add_url_rule("/orders", "history", orders.history)
blueprint.add_url_rule("/orders", "place", basket.place, methods=["POST"])
blueprint.add_url_rule("/orders/<uuid:order_id>", "order", orders.show)
blueprint.add_url_rule("/orders/<uuid:order_id>.json", "state", orders.state)
blueprint.add_url_rule("/orders/<uuid:order_id>/events", "events", orders.events)
blueprint.add_url_rule("/orders/<uuid:order_id>/invoice.pdf", "invoice", orders.invoice)
blueprint.add_app_template_filter(money)
# Error pages, which are no view of this blueprint, show the basket's count too.
blueprint.app_context_processor(lambda: {"pieces": visitor.pieces()})
