"""The history of a product as JSON."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse

from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import find_collection
from collections_app.api.limits import EXPORT_RETRY_AFTER_SECONDS
from collections_app.api.responses import success
from collections_app.models import ApiKey, Collection, TrackingSettings
from collections_app.records.availability import Availability
from collections_app.records.preview.concurrency import TooManyQueries, queries_of
from collections_app.records.tracking.history import Extreme, History, Observation, history_of
from collections_app.records.tracking.key_text import parse_key
from collections_app.records.tracking.keys import texts_of
from collections_app.records.tracking.tracked_runs import MOST_RUNS, ProductsUnavailable, TrackedRun

_RETRY = {"Retry-After": str(EXPORT_RETRY_AFTER_SECONDS)}


@endpoint("GET", "HEAD")
def product_history(request: HttpRequest, key: ApiKey, collection_id: str, product_key: str) -> HttpResponse:
    """Return what the newest runs of a collection say about a product, newest first."""
    collection = find_collection(key, collection_id)
    product = _key(collection, product_key)
    try:
        with queries_of(key.membership.user_id):
            history = history_of(collection, product)
    except ProductsUnavailable as error:
        raise ApiError(503, str(error), _RETRY) from None
    except TooManyQueries as error:
        raise ApiError(429, str(error), _RETRY) from None
    if history is None:
        raise ApiError(404, f"The product isn't in the newest {MOST_RUNS:,} runs of this collection.")
    return success({"key": texts_of(product), **_figures(history), "observations": _observations(history)})


def _key(collection: Collection, text: str) -> str:
    settings = TrackingSettings.objects.filter(collection=collection).first()
    if settings is None or not settings.key:
        raise ApiError(409, "This collection has no key. Choose a key in its settings.")
    key = parse_key(text, settings.key)
    if key is None:
        columns = ", ".join(settings.key)
        raise ApiError(404, f"A product is named by {columns}. Separate the values by commas.")
    return key


def _figures(history: History) -> dict[str, Any]:
    share = history.sold_out_share
    return {
        "title": history.title,
        "runs_missed": history.missed,
        "currency": history.currency,
        "lowest": _extreme(history.lowest),
        "highest": _extreme(history.highest),
        "median_90_days": _number(history.recent_median),
        "sold_out_percent": None if share is None else float(round(share * 100, 1)),
        "sellers": [{"name": name, "runs": count} for name, count in history.sellers],
    }


def _extreme(found: Extreme | None) -> dict[str, Any] | None:
    return None if found is None else {"price": _number(found.amount), "run": found.sighting.run.number}


def _observations(history: History) -> list[dict[str, Any]]:
    return [
        _observation(sighting.run, each)
        for sighting in reversed(history.sightings)
        for each in sighting.observations
    ]


def _observation(run: TrackedRun, observation: Observation) -> dict[str, Any]:
    known = observation.availability
    return {
        "run": run.number,
        "created_at": f"{run.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "trusted": run.is_trusted,
        "record": observation.position,
        "title": observation.title,
        "price": _number(observation.amount),
        "price_text": observation.price,
        "currency": observation.currency,
        "in_stock": None if known is None else known == Availability.IN_STOCK,
        "stock_text": observation.stock,
        "seller": observation.seller,
    }


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
