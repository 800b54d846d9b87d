"""How people get accounts: a team's owner makes them, nobody signs up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is not typed
    """Closes sign-up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Say no: accounts are made by a team's owner or admin, or by an operator."""
        return False
