"""Make a team and its first owner."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from collections_app.management.arguments import check, shown, text
from collections_app.management.people import give_password, new_user
from collections_app.models import Membership, Role, Team, User


class Command(BaseCommand):
    """Makes a team; its owner can do everything else in the browser."""

    help = (
        "Make a team and its owner. Where nobody has that e-mail address yet, a user is made: the password "
        "is asked for on a terminal; elsewhere one is made up and printed, once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the team's name and its owner's address."""
        parser.add_argument("name", metavar="NAME", type=text, help="the team's name")
        parser.add_argument(
            "--owner", metavar="EMAIL", type=text, required=True, help="the owner's e-mail address"
        )

    def handle(self, *args: Any, name: str, owner: str, **options: Any) -> None:
        """Make the team, and print the password that was made up for a new owner."""
        team = Team(name=name.strip())
        check(team)
        password = None
        user = User.objects.filter(email__iexact=owner.strip()).first()
        if user is None:
            user = new_user(owner)
            password = give_password(user)
        with transaction.atomic():
            user.save()
            team.save()
            Membership.objects.create(user=user, team=team, role=Role.OWNER)
        self.stdout.write(f"Team: {shown(team.name)} (id {team.pk})\nE-mail: {user.email}")
        if password:
            self.stdout.write(f"Password: {password}")
