"""Updates of a run's page."""

from django.http import HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.download.rows import version
from collections_app.views.live import news_of, refresh_in_background
from collections_app.views.run.page import run_context


@collection_member(Action.SEE, is_file=True)
@require_safe
@never_cache
def run_live(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Return what a run's page shows, or 204 if the version that was `seen` is current."""
    refresh_in_background(collection)
    run = collection.runs.filter(number=number).first()
    if run is not None and version(run) == request.GET.get("seen"):
        return HttpResponse(status=204)
    context = run_context(request, collection, number)
    news = news_of(context["run"])
    return JsonResponse(
        {"html": render_to_string("run/_run.html", context, request), "news": [news] if news else []}
    )
