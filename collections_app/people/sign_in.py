"""Signing in with a password, by allauth. Users are invited by a team; they can't sign up."""

from ipaddress import ip_address
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse

from collections_app.models import User
from collections_app.people import devices, sign_in_limits


class SignInAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is not typed
    """Disable sign-up and slow down password guessing."""

    error_messages: ClassVar = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "Wrong email address or password. Try again, or reset your password.",
        "enter_current_password": "That isn't your current password. Try again, or reset your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return False: a team's owner or admin, or an operator, creates users."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address. IPv4-mapped IPv6 addresses become IPv4 addresses."""
        # All mapped addresses share the first 64 bits, and IPv6 attempts are counted by these.
        found = ip_address(super().get_client_ip(request))
        return str(getattr(found, "ipv4_mapped", None) or found)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the attempt. allauth takes it back if the password is correct."""
        # The name is private to allauth. Read in 65.21.1; tests/test_sign_in_limits.py fails if it changes.
        self._login_failed_rl_usage = sign_in_limits.count(request, credentials["email"])

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Keep the attempt counted: the password is wrong."""
        self._login_failed_rl_usage.end()

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign the user in and remember the browser."""
        super().login(request, user)
        devices.note_sign_in(request, user)

    def set_password(self, user: User, password: str) -> None:
        """Set the password, and save nothing else: the user may have been deactivated in the meantime."""
        user.set_password(password)
        user.save(update_fields=["password"])
        # The change invalidated all device cookies. An emailed link proves as much as a password.
        devices.note_sign_in(self.request, user)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Return to the profile, where the change was started."""
        return reverse("profile")
