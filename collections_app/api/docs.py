"""The API's documentation: the OpenAPI document, and the page that shows it."""

import json
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from collections_app.api.reference import Reference
from collections_app.people.access import signed_in
from collections_app.system.addresses import absolute

DOCUMENT = Path(__file__).with_name("openapi.json")
_DOCUMENT: dict[str, Any] = json.loads(DOCUMENT.read_bytes())


@signed_in
def openapi_json(request: HttpRequest) -> HttpResponse:
    """Return the OpenAPI document."""
    return HttpResponse(DOCUMENT.read_bytes(), content_type="application/json")


@signed_in
def openapi_view(request: HttpRequest) -> HttpResponse:
    """Return the page that shows the OpenAPI document, with samples for this site."""
    return render(request, "api/docs.html", {"reference": Reference(_DOCUMENT, absolute(request, ""))})
