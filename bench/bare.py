"""A bare Django project for comparison: the settings, the URLs and the one view.

It runs with the same gunicorn settings and the same server class as the site. It has no middleware, and its
view sends a file without checking anything.
"""

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from tests.support.server_settings import *  # noqa: F403
from tests.support.server_settings import DATA_DIR

INSTALLED_APPS = ["collections_app", "django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = []
ROOT_URLCONF = "bench.bare"


def healthz(request: HttpRequest) -> HttpResponseBase:
    """Report that the server runs."""
    return HttpResponse()


def send(request: HttpRequest, name: str) -> HttpResponseBase:
    """Send a file."""
    return FileResponse((DATA_DIR / "results" / name).open("rb"))


urlpatterns = [path("healthz", healthz), path("<name>", send)]
