"""Whether the process is alive."""

from django.http import HttpRequest, JsonResponse

from collections_app.access import public


@public
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process answers at all."""
    return JsonResponse({"status": "ok"})
