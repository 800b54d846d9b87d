"""What commands are given, by the words that a person types, and how they say what is wrong."""

import argparse
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
_INTERRUPTED = 130  # what a shell says of a command that was ended by Ctrl-C

Named = TypeVar("Named", Team, Collection)


def text(argument: str) -> str:
    """Return an argument that is text: the `type` of all that are no paths. Raises ArgumentTypeError."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f'"{shown(argument)}" is not UTF-8 text') from None
    return argument


def run_number(argument: str) -> int:
    """Return an argument that is a run's number: a `type`. Raises ArgumentTypeError."""
    try:
        number = int(argument)
    except ValueError:
        number = -1
    if not 0 <= number <= _LARGEST_NUMBER:
        raise argparse.ArgumentTypeError("a run has a number, such as 88")
    return number


def shown(name: str) -> str:
    """Return a name as a message can hold it: printable, and not too long."""
    return printable(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}...")


def count(number: int, noun: str) -> str:
    """Say how many there are: "1 run", "1,000 runs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def interrupted(hint: str) -> CommandError:
    """Return what a command raises that is ended by Ctrl-C: what comes of that, and the exit code."""
    return CommandError(f"Interrupted. {hint}", returncode=_INTERRUPTED)


def database_problem(error: OperationalError) -> str:
    """Say that the database can't be used, and why."""
    # What SQLite says of a full disk, among other things.
    hint = " Is the disk full?" if "I/O" in str(error) else ""
    return f"The database can't be used: {database.reason(error)}.{hint}"


def team_of(name: str) -> Team:
    """Return the team of this id or exact name. Raises CommandError."""
    return _one(Team, name)


def collection_of(name: str) -> Collection:
    """Return the collection of this id or exact name. Raises CommandError."""
    return _one(Collection, name)


def user_of(email: str) -> User:
    """Return the user of this e-mail address, in any case. Raises CommandError."""
    try:
        return User.objects.get_by_natural_key(email)
    except User.DoesNotExist:
        raise CommandError(f"There is no user {shown(email)}; create_user makes one.") from None


def membership_of(user: User, team: Team | None) -> Membership:
    """Return a person's membership of a team, or of their only one. Raises CommandError."""
    memberships = list(Membership.objects.filter(user=user).select_related("team"))
    if team is not None:
        memberships = [membership for membership in memberships if membership.team == team]
    if not memberships:
        raise CommandError(f"{user} is not in {shown(team.name)}." if team else f"{user} is in no team.")
    if len(memberships) > 1:
        names = ", ".join(f'"{shown(membership.team.name)}"' for membership in memberships)
        raise CommandError(f"{user} is in several teams ({names}); say which one with --team.")
    return memberships[0]


def check(row: Model) -> None:
    """Check a row that is about to be saved. Raises CommandError, naming what is wrong with which field."""
    try:
        row.full_clean()
    except ValidationError as error:
        problems = (f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())
        raise CommandError("; ".join(problems)) from None


def _one(model: type[Named], name: str) -> Named:
    what = model._meta.verbose_name
    # An id comes first: a collection named "101" must not hide number 101.
    if name.isdecimal() and len(name) <= len(str(_LARGEST_NUMBER)) and int(name) <= _LARGEST_NUMBER:
        by_id = model.objects.filter(pk=int(name)).first()
        if by_id:
            return by_id
    named = list(model.objects.filter(name=name).order_by("pk")[:10])
    if not named:
        raise CommandError(f'There is no {what} of the id or name "{shown(name)}".')
    if len(named) > 1:
        ids = ", ".join(str(row.pk) for row in named)
        raise CommandError(f'Several {what}s are named "{shown(name)}"; give the id of one of them: {ids}.')
    return named[0]
