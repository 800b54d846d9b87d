"""The API's documentation: the OpenAPI document, and the page that shows it."""

from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from collections_app.people.access import signed_in

DOCUMENT = Path(__file__).with_name("openapi.json")


@signed_in
def openapi_json(request: HttpRequest) -> HttpResponse:
    """Return the OpenAPI document."""
    return HttpResponse(DOCUMENT.read_bytes(), content_type="application/json")


@signed_in
def openapi_view(request: HttpRequest) -> HttpResponse:
    """Return the page that shows the OpenAPI document with Swagger UI."""
    return render(request, "api/docs.html")
