"""The site's addresses, and beside them the least that each could be."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from collections_app.access import public
from dashboard.urls import urlpatterns as site


@public
def bare(request: HttpRequest) -> HttpResponse:
    """Answer with who is signed in: a session, a user, and nothing else."""
    return HttpResponse(request.user.get_username())


urlpatterns = [path("bare", bare), *site]
