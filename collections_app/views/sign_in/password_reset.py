"""Reset a forgotten password."""

from typing import Any

from allauth.account import views as allauth_views
from allauth.account.forms import ResetPasswordForm
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from collections_app.models import User
from collections_app.people.access import public
from collections_app.people.password_links import queue_password_link
from collections_app.system.addresses import absolute


class PasswordResetForm(ResetPasswordForm):  # type: ignore[misc]  # allauth is not typed
    """Request a link by email. It looks up no user, so its duration doesn't reveal who is registered."""

    def clean_email(self) -> str:
        """Return the address in its stored form."""
        return User.objects.normalize_email(self.cleaned_data["email"])

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """Queue the email, even for an unknown address."""
        email: str = self.cleaned_data["email"]
        queue_password_link(email, site=absolute(request, ""))
        return email


@public
def password_reset(request: HttpRequest) -> HttpResponseBase:
    """Send a link by email. Without a mail server, say whom to ask for one."""
    if not settings.EMAIL_URL:
        return render(request, "account/password_reset_without_mail.html")
    response: HttpResponseBase = allauth_views.password_reset(request)
    return response
