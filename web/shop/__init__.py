"""The shop for people: whole without scripts, which only add a running total and live steps."""

from __future__ import annotations

from flask import Blueprint

from services.orders.money import money
from web import ledger
from web.shop import catalogue, orders

blueprint = Blueprint("shop", __name__, template_folder="templates")
blueprint.before_request(ledger.require)
blueprint.add_url_rule("/", "catalogue", catalogue.show)
blueprint.add_url_rule("/orders", "place", catalogue.place, methods=["POST"])
blueprint.add_url_rule("/orders/<uuid:order_id>", "order", orders.show)
blueprint.add_url_rule("/orders/<uuid:order_id>/invoice.pdf", "invoice", orders.invoice)
blueprint.add_app_template_filter(money)
