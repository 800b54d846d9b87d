"""Change the colors of the pages for the current user."""

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Preferences, Theme
from collections_app.people.access import MemberRequest, signed_in


@signed_in
@require_POST
def theme_change(request: MemberRequest) -> HttpResponse:
    """Save the user's theme."""
    theme = request.POST.get("theme", "")
    if theme not in Theme.values:
        raise BadRequest("Unknown theme. Use the buttons on your profile page.")
    Preferences.objects.update_or_create(user_id=request.user.pk, defaults={"theme": theme})
    return redirect("profile")
