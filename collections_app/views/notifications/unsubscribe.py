"""Switch off the rules that an email was sent for, without signing in."""

from django.core.signing import BadSignature
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from collections_app.models import Rule
from collections_app.notifications.unsubscribe import read_token
from collections_app.people.access import public


@csrf_exempt  # mail programs post here (RFC 8058); the link is the permission
@public
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Show a button, because mail scanners open links. On POST, switch the rules off."""
    try:
        rules = Rule.objects.filter(pk__in=read_token(token)).select_related("team").order_by("pk")
    except BadSignature:
        raise Http404("This link is incomplete. Copy the entire link from the email.") from None
    if request.method == "POST":
        rules.update(is_on=False)
    return render(request, "notifications/unsubscribe.html", {"rules": rules})
