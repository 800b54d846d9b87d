"""Arguments and error messages that the commands share."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.models import Model

from collections_app.files.names import printable
from collections_app.models import Collection, Membership, Team, User
from collections_app.system import database

_LARGEST_NUMBER = 2**63 - 1  # more than that makes the database raise
_LONGEST_SHOWN = 100
_INTERRUPTED = 130  # a shell's exit code for Ctrl+C

Named = TypeVar("Named", Team, Collection)


def text(argument: str) -> str:
    """Return a text argument; used as `type`. Raise ArgumentTypeError if it isn't valid UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f'"{shown(argument)}" is not UTF-8 text') from None
    return argument


def run_number(argument: str) -> int:
    """Return a run number; used as `type`. Raise ArgumentTypeError if it isn't one."""
    try:
        number = int(argument)
    except ValueError:
        number = -1
    if not 0 <= number <= _LARGEST_NUMBER:
        raise argparse.ArgumentTypeError("not a run number; use a number such as 88")
    return number


def shown(name: str) -> str:
    """Return a name for a message: printable and not too long."""
    return printable(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}...")


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 run", "1,000 runs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def interrupted(hint: str) -> CommandError:
    """Return the error of a command that was stopped with Ctrl+C."""
    return CommandError(f"Interrupted. {hint}", returncode=_INTERRUPTED)


def database_problem(error: OperationalError) -> str:
    """Return an error message: the database can't be used, and why."""
    # SQLite reports a full disk as an I/O error.
    hint = " Is the disk full?" if "I/O" in str(error) else ""
    return f"The database can't be used: {database.reason(error)}.{hint}"


@contextmanager
def copy_errors(command: str) -> Iterator[None]:
    """Turn errors that stop all copying into CommandErrors that say how to continue."""
    hint = f"Completed copies are kept. To continue, run {command} again."
    try:
        yield
    except OSError as error:
        raise CommandError(f"The results storage can't be used: {error.strerror or error}. {hint}") from None
    except OperationalError as error:
        raise CommandError(f"{database_problem(error)} {hint}") from None
    except KeyboardInterrupt:
        raise interrupted(hint) from None


def team_of(name: str) -> Team:
    """Return the team with this id or exact name. Raise CommandError if there isn't exactly one."""
    return _one(Team, name)


def collection_of(name: str) -> Collection:
    """Return the collection with this id or exact name. Raise CommandError if there isn't exactly one."""
    return _one(Collection, name)


def user_of(email: str) -> User:
    """Return the user with this email address, ignoring case. Raise CommandError if none exists."""
    try:
        return User.objects.get_by_natural_key(email)
    except User.DoesNotExist:
        raise CommandError(f"User {shown(email)} doesn't exist. Create the user with create_user.") from None


def membership_of(user: User, team: Team | None) -> Membership:
    """Return a user's membership of a team, or of their only team. Raise CommandError if it isn't clear."""
    memberships = list(Membership.objects.filter(user=user).select_related("team"))
    if team is not None:
        memberships = [membership for membership in memberships if membership.team == team]
    if not memberships:
        raise CommandError(
            f"{user} isn't a member of {shown(team.name)}." if team else f"{user} isn't in a team."
        )
    if len(memberships) > 1:
        names = ", ".join(f'"{shown(membership.team.name)}"' for membership in memberships)
        raise CommandError(f"{user} is in several teams ({names}). Choose one with --team.")
    return memberships[0]


def check(row: Model) -> None:
    """Validate a row before it is saved. Raise CommandError with the invalid fields."""
    try:
        row.full_clean()
    except ValidationError as error:
        problems = (f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())
        raise CommandError("; ".join(problems)) from None


def _one(model: type[Named], name: str) -> Named:
    what = model._meta.verbose_name
    # Ids take precedence over names: a collection named "101" must not hide the one with id 101.
    if name.isdecimal() and len(name) <= len(str(_LARGEST_NUMBER)) and int(name) <= _LARGEST_NUMBER:
        by_id = model.objects.filter(pk=int(name)).first()
        if by_id:
            return by_id
    named = list(model.objects.filter(name=name).order_by("pk")[:10])
    if not named:
        raise CommandError(f'No {what} has the id or name "{shown(name)}".')
    if len(named) > 1:
        ids = ", ".join(str(row.pk) for row in named)
        raise CommandError(f'Several {what}s are named "{shown(name)}". Use an id instead: {ids}.')
    return named[0]
