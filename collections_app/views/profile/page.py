"""The profile page: the user's name, theme and API keys, and examples of API calls."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Theme
from collections_app.people.access import MemberRequest, signed_in
from collections_app.views.forms import posted
from collections_app.views.profile.examples import example_calls
from collections_app.views.profile.forms import KeyForm, ProfileForm

KEY_PLACEHOLDER = "YOUR_API_KEY"


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: MemberRequest) -> HttpResponse:
    """Show the profile. On POST, change the user's name."""
    form = ProfileForm(posted(request), instance=request.user)
    if form.is_valid():
        form.save()
        messages.success(request, "Saved your name.")
        return redirect("profile")
    return render_profile(request, profile_form=form)


def render_profile(request: MemberRequest, *, status: int = HTTPStatus.OK, **context: object) -> HttpResponse:
    """Render the page. `context` replaces its forms or adds a new key."""
    context = {
        "profile_form": ProfileForm(instance=request.user),
        "key_form": KeyForm(),
        "key_shown": KEY_PLACEHOLDER,
        "themes": Theme.choices,
    } | context
    # A user without a team has no keys.
    if request.memberships:
        context["keys"] = request.membership.api_keys.active()
        context["example"] = example_calls(request, request.membership.team, str(context["key_shown"]))
    return render(request, "profile/page.html", context, status=status)
