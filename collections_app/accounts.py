"""How people get accounts: a team's owner makes them, nobody signs up."""

import logging
from smtplib import SMTPException

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from collections_app.addresses import absolute
from collections_app.models import User

logger = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is not typed
    """Closes sign-up, and makes links that work outside of this site."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Say no: accounts are made by a team's owner or admin, or by an operator."""
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the address at which the owner of this key sets a password."""
        user, _, token = key.partition("-")
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": user, "key": token})
        return absolute(self.request, path)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Return to the profile, where the change was started."""
        return reverse("profile")

    def format_email_subject(self, subject: str) -> str:
        """Return the subject as it is; allauth would put the request's host before it."""
        return subject


def password_link(request: HttpRequest, user: User) -> str:
    """Return a link that sets the user's password, once, within settings.PASSWORD_RESET_TIMEOUT seconds."""
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    link: str = get_adapter(request).get_reset_password_from_key_url(key)
    return link


def mail_password_link(request: HttpRequest, user: User, link: str) -> bool:
    """Send the link to the user; return whether it was sent, which needs a mail server that takes it."""
    if not settings.EMAIL_URL:
        return False
    try:
        get_adapter(request).send_mail(
            "account/email/password_reset_key", user.email, {"user": user, "password_reset_url": link}
        )
    except (OSError, SMTPException):
        logger.exception("The mail server didn't take the password link for %s", user.email)
        return False
    return True
