"""What commands are given: teams, collections and people, by the words that a person types."""

from typing import TypeVar

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models import Model

from collections_app.models import Collection, Membership, Team, User

_LARGEST_ID = 2**63 - 1  # more than that makes the database raise

Named = TypeVar("Named", Team, Collection)


def team_of(text: str) -> Team:
    """Return the team of this id or exact name. Raises CommandError."""
    return _one(Team, text)


def collection_of(text: str) -> Collection:
    """Return the collection of this id or exact name. Raises CommandError."""
    return _one(Collection, text)


def user_of(email: str) -> User:
    """Return the user of this e-mail address, in any case. Raises CommandError."""
    try:
        return User.objects.get_by_natural_key(email)
    except User.DoesNotExist:
        raise CommandError(f"There is no user {email}; create_user makes one.") from None


def membership_of(user: User, team: Team | None) -> Membership:
    """Return a person's membership of a team, or of their only one. Raises CommandError."""
    memberships = list(Membership.objects.filter(user=user).select_related("team"))
    if team is not None:
        memberships = [membership for membership in memberships if membership.team == team]
    if not memberships:
        raise CommandError(f"{user} is not in {team.name}." if team else f"{user} is in no team.")
    if len(memberships) > 1:
        names = ", ".join(f'"{membership.team}"' for membership in memberships)
        raise CommandError(f"{user} is in several teams ({names}); say which one with --team.")
    return memberships[0]


def check(row: Model) -> None:
    """Check a row that is about to be saved. Raises CommandError, naming what is wrong with which field."""
    try:
        row.full_clean()
    except ValidationError as error:
        problems = (f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())
        raise CommandError("; ".join(problems)) from None


def _one(model: type[Named], text: str) -> Named:
    what = model._meta.verbose_name
    # An id comes first: a collection named "101" must not hide number 101.
    if text.isdecimal() and int(text) <= _LARGEST_ID:
        by_id = model.objects.filter(pk=int(text)).first()
        if by_id:
            return by_id
    named = list(model.objects.filter(name=text).order_by("pk")[:10])
    if not named:
        raise CommandError(f'There is no {what} of the id or name "{text}".')
    if len(named) > 1:
        ids = ", ".join(str(row.pk) for row in named)
        raise CommandError(f'Several {what}s are named "{text}"; give the id of one of them: {ids}.')
    return named[0]
