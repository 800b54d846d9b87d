"""How people get accounts: a team's owner makes them, nobody signs up."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.mail import EmailMessage
from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from collections_app import outbox
from collections_app.models import Membership, Role, User
from collections_app.people import attempts, devices


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is not typed
    """Disable sign-up and slow down password guessing."""

    error_messages: ClassVar = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "Wrong email address or password. Try again, or reset your password."
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Say no: accounts are made by a team's owner or admin, or by an operator."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address. IPv4-mapped IPv6 addresses become IPv4 addresses."""
        # All mapped addresses share the first 64 bits, and IPv6 attempts are counted by these.
        found = ip_address(super().get_client_ip(request))
        return str(getattr(found, "ipv4_mapped", None) or found)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the attempt. allauth takes it back if the password is correct."""
        self._login_failed_rl_usage = attempts.begin(request, credentials["email"])

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign the user in and remember the browser."""
        super().login(request, user)
        devices.note_sign_in(request, user)

    def set_password(self, user: User, password: str) -> None:
        """Set the password, and save nothing else: the account may have been closed since it was read."""
        user.set_password(password)
        user.save(update_fields=["password"])
        # Changing the password invalidated all device cookies. An emailed link proves as much as a password.
        devices.note_sign_in(self.request, user)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Return to the profile, where the change was started."""
        return reverse("profile")


class PasswordLinkTokens(PasswordResetTokenGenerator):
    """What makes a password link work, and end.

    As Django has it, a link ends by its use, after settings.PASSWORD_RESET_TIMEOUT seconds, and when the
    account signs in or gets another password or address. Ours also ends when its rights are no longer
    those that the link was made for (operator, teams, roles), and when somebody who may have made it is
    no longer who they were: an owner or admin of such a team left, got another role or was closed.
    """

    def _make_hash_value(self, user: AbstractBaseUser, timestamp: int) -> str:
        assert isinstance(user, User)
        # Who came to manage a team later didn't make the link: adding two admins in a row leaves both
        # links working. The time is in whole seconds since 2001.
        made_by = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=timestamp + 1)
        may_have_made_it = (
            Q(team__in=user.memberships.values("team")) & ~Q(role=Role.MEMBER) & Q(created_at__lt=made_by)
        )
        rights = Membership.objects.filter(Q(user=user) | may_have_made_it).order_by("pk")
        covered = [
            super()._make_hash_value(user, timestamp),
            user.is_staff,
            user.is_superuser,
            *rights.values_list("pk", "team", "role", "user__is_active"),
        ]
        return repr(covered)


_tokens = PasswordLinkTokens()


def password_path(user: User) -> str:
    """Return the path of a page that sets the user's password once. See PasswordLinkTokens for its expiry."""
    user_id, token = user_pk_to_url_str(user), _tokens.make_token(user)
    return reverse("account_reset_password_from_key", kwargs={"uidb36": user_id, "key": token})


def queue_password_link(email: str, *, link: str = "", site: str = "") -> bool:
    """Queue an email with a password link. Return False if there is no mail server.

    Without a link, the worker creates one from the site's address if the email address has an account.
    """
    lasts = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
    return outbox.queue({"email": email, "link": link, "site": site}, lasts=lasts)


def compose_mail(data: outbox.Data) -> EmailMessage | None:
    """Return the email with the password link, or None if the account doesn't exist or is inactive."""
    user = User.objects.filter(email=data["email"], is_active=True).first()
    if user is None:
        return None
    link = data["link"] or data["site"] + password_path(user)
    subject = render_to_string("account/email/password_reset_key_subject.txt").strip()
    body = render_to_string(
        "account/email/password_reset_key_message.txt", {"user": user, "password_reset_url": link}
    )
    return EmailMessage(subject, body, to=[user.email])
