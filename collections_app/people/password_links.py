"""Links that set a password once: for new users, and for users who forgot theirs."""

from datetime import UTC, datetime, timedelta

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.mail import EmailMessage
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse

from collections_app import outbox
from collections_app.models import Membership, User
from collections_app.people.access import can_manage


class PasswordLinkTokens(PasswordResetTokenGenerator):
    """Tokens of password links.

    As with Django's tokens, a link expires when it is used, after settings.PASSWORD_RESET_TIMEOUT seconds,
    and when the user signs in or changes the password or email address. It also expires when the user's
    rights change (operator, teams, roles), and when someone who may have created the link leaves the team,
    gets another role or is deactivated.
    """

    # The name is private to Django. Read in 5.2; tests/test_view_members.py fails if it changes.
    def _make_hash_value(self, user: AbstractBaseUser, timestamp: int) -> str:
        assert isinstance(user, User)
        # Managers who joined later didn't create the link, so adding two admins in a row leaves both links
        # valid. The timestamp counts seconds since 2001.
        created_by = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=timestamp + 1)
        creators = can_manage(user) & Q(created_at__lt=created_by)
        rights = Membership.objects.filter(Q(user=user) | creators).order_by("pk")
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


def invited_to(user: User) -> str:
    """Return the teams that a user without a password was added to, or ""."""
    if user.has_usable_password():
        return ""
    return " and ".join(user.memberships.order_by("pk").values_list("team__name", flat=True))


def queue_password_link(email: str, *, link: str = "", site: str = "") -> bool:
    """Queue an email with a password link. Return False if there is no mail server.

    Without a link, the worker creates one from the site's address if a user has the email address.
    """
    lasts = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
    return outbox.queue({"email": email, "link": link, "site": site}, lasts=lasts)


def compose_mail(data: outbox.Data) -> EmailMessage | None:
    """Return the email with the password link, or None if the user doesn't exist or is inactive."""
    user = User.objects.filter(email=data["email"], is_active=True).first()
    if user is None:
        return None
    link = data["link"] or data["site"] + password_path(user)
    context = {"user": user, "password_reset_url": link, "teams": invited_to(user)}
    subject = render_to_string("account/email/password_reset_key_subject.txt", context).strip()
    body = render_to_string("account/email/password_reset_key_message.txt", context)
    return EmailMessage(subject, body, to=[user.email])
