"""Create users and their passwords from the command line."""

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
    """Return a new, unsaved user. Raise CommandError if the address is invalid or already used."""
    user = User(email=UserManager.normalize_email(email), name=name)
    user.set_unusable_password()
    check(user)
    return user


def set_password(user: User) -> str | None:
    """Set the password of an unsaved user: prompt for it on a terminal, otherwise generate one.

    Return a generated password, so that it can be printed once. Raise CommandError if a password is invalid.
    """
    if not sys.stdin.isatty():
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        return password
    password = _prompt(user)
    user.set_password(password)
    return None


def _prompt(user: User) -> str:
    password = getpass.getpass(f"Password for {user}: ")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    if getpass.getpass("Password (again): ") != password:
        raise CommandError("The passwords don't match.")
    return password
