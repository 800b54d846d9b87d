"""Making people and their passwords from the command line."""

import getpass
import secrets
import sys

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from collections_app.management.arguments import check
from collections_app.models import User
from collections_app.models.teams import UserManager


def new_user(email: str, name: str = "") -> User:
    """Return a user who is not saved yet. Raises CommandError for a bad or a known address."""
    user = User(email=UserManager.normalize_email(email), name=name)
    user.set_unusable_password()
    check(user)
    return user


def give_password(user: User) -> str | None:
    """Give a user who is not saved yet a password: asked for on a terminal, else made up.

    Returns the one that was made up, so that it can be told once. Raises CommandError.
    """
    if not sys.stdin.isatty():
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        return password
    password = _ask(user)
    user.set_password(password)
    return None


def _ask(user: User) -> str:
    password = getpass.getpass(f"Password for {user}: ")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    if getpass.getpass("The same again: ") != password:
        raise CommandError("The two passwords differ.")
    return password
