"""A forgotten password."""

from allauth.account import views as account
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from collections_app.access import public


@public
def password_reset(request: HttpRequest) -> HttpResponseBase:
    """Offer a reset link by mail; without a mail server, say whom to ask and do nothing."""
    if not settings.EMAIL_URL:
        return render(request, "account/password_reset_without_mail.html")
    answer: HttpResponseBase = account.password_reset(request)
    return answer
